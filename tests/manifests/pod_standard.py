"""What of a Pod the level `restricted` refuses beyond `baseline`, whose controls are those of seldon/admission.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted: each control with its fields and values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Object = dict[str, Any]
VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
PROFILES = ("RuntimeDefault", "Localhost")
GROUPS = ("initContainers", "containers", "ephemeralContainers")


def refused(pod: Object) -> list[str]:
    """``control: container`` for each that breaks one, ``volume types: name`` for volumes. ``pod`` is a PodSpec for Linux."""
    shared = pod.get("securityContext") or {}
    found = [f"volume types: {item['name']}" for item in pod.get("volumes") or () if not _is_taken(item)]
    if shared.get("runAsUser") == 0:
        found.append("running as non-root user: the Pod")
    for container in _containers(pod):
        own = container.get("securityContext") or {}
        found += [f"{name}: {container['name']}" for name, keeps in CONTROLS.items() if not keeps(own, shared)]
    return found


def _containers(pod: Object) -> Iterator[Object]:
    for group in GROUPS:
        yield from pod.get(group) or ()


def _is_taken(volume: Object) -> bool:
    return len(volume) > 1 and volume.keys() - {"name"} <= VOLUMES


def _drops_all(own: Object, _: Object) -> bool:
    rights = own.get("capabilities") or {}
    return "ALL" in (rights.get("drop") or ()) and {*(rights.get("add") or ())} <= {"NET_BIND_SERVICE"}


def _is_non_root(own: Object, shared: Object) -> bool:
    """A container's own word counts; one that says nothing has the Pod's."""
    said = own.get("runAsNonRoot")
    return said is True or (said is None and shared.get("runAsNonRoot") is True)


def _is_filtered(own: Object, shared: Object) -> bool:
    profile = own.get("seccompProfile") or shared.get("seccompProfile") or {}
    return profile.get("type") in PROFILES


CONTROLS: Mapping[str, Callable[[Object, Object], bool]] = {
    "privilege escalation": lambda own, _: own.get("allowPrivilegeEscalation") is False,
    "running as non-root": _is_non_root,
    "running as non-root user": lambda own, _: own.get("runAsUser") != 0,
    "seccomp": _is_filtered,
    "capabilities": _drops_all,
}
