"""What of a Pod the profile `restricted` of the Pod Security Standards refuses.

https://kubernetes.io/docs/concepts/security/pod-security-standards/: its rules on volumes, privilege escalation, users,
seccomp and capabilities. Nothing that Slipway makes breaks a rule of `baseline`.
"""

from __future__ import annotations

from collections.abc import Iterator

from slipway.doctor.checks.sample import containers_of
from slipway.doctor.facts import Object

PROFILES = ("RuntimeDefault", "Localhost")
VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)


def refused(pod: Object) -> list[str]:
    """One text per rule that is broken, with the containers that break it; empty for a Pod that is let in."""
    own = pod.get("securityContext") or {}
    contexts = {item["name"]: item.get("securityContext") or {} for item in containers_of(pod)}
    rules = {
        "allowPrivilegeEscalation is not false": [
            name for name, one in contexts.items() if one.get("allowPrivilegeEscalation") is not False
        ],
        "capabilities.drop has no ALL": [
            name for name, one in contexts.items() if "ALL" not in ((one.get("capabilities") or {}).get("drop") or ())
        ],
        "runAsNonRoot is not true": [
            name for name, one in contexts.items() if one.get("runAsNonRoot", own.get("runAsNonRoot")) is not True
        ],
        "runAsUser is 0": [name for name, one in contexts.items() if one.get("runAsUser", own.get("runAsUser")) == 0],
        "seccompProfile is neither RuntimeDefault nor Localhost": [
            name
            for name, one in contexts.items()
            if (one.get("seccompProfile") or own.get("seccompProfile") or {}).get("type") not in PROFILES
        ],
        "its kind of volume is not allowed": list(_volumes(pod)),
    }
    return [f"{rule} ({', '.join(names)})" for rule, names in rules.items() if names]


def _volumes(pod: Object) -> Iterator[str]:
    for volume in pod.get("volumes") or ():
        if not VOLUMES & volume.keys():
            yield volume["name"]
