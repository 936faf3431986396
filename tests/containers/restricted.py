"""What a namespace of the strictest level demands of a Pod, put into its template."""

from __future__ import annotations

import copy
from typing import Any

Object = dict[str, Any]


def restricted(template: Object) -> Object:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and a read-only root."""
    made = copy.deepcopy(template)
    spec = made["spec"]
    spec["securityContext"] |= {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec["volumes"].append({"name": "tmp", "emptyDir": {}})
    for container in (*spec["initContainers"], *spec["containers"]):
        container["securityContext"] = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        container["volumeMounts"].append({"name": "tmp", "mountPath": "/tmp"})
    return made
