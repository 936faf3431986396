"""A Pod template in which nobody writes to a root, and everybody to a /tmp."""

from __future__ import annotations

import copy
from typing import Any

Object = dict[str, Any]


def read_only(template: Object) -> Object:
    """Beyond what the controller asks for: the roots of components are read-only, too."""
    made = copy.deepcopy(template)
    spec = made["spec"]
    spec["volumes"].append({"name": "tmp", "emptyDir": {}})
    for container in (*spec["initContainers"], *spec["containers"]):
        container["securityContext"]["readOnlyRootFilesystem"] = True
        container["volumeMounts"].append({"name": "tmp", "mountPath": "/tmp"})
    return made
