"""What a namespace of the level `restricted` asks of each container, filled in where the manifest says nothing.

It stands at containers, not at the Pod: there it would bind what others inject, too, such as Istio's init container, which
root runs.
"""

from __future__ import annotations

from collections.abc import Mapping

from slipway.contract.pod_security import DEFAULT_USER_ID, READ_ONLY, RESTRICTED
from slipway.contract.sdep import Json
from slipway.controller.meta import Object

OF_THE_POD: Mapping[str, object] = {"runAsUser": DEFAULT_USER_ID}


def of_the_pod(spec: Json) -> Json:
    """The Pod's own securityContext: what the componentSpec says, or OF_THE_POD. ``spec`` is a PodSpec."""
    found: Json = spec.get("securityContext", OF_THE_POD) or {}
    return found


def secured(container: Json, pod: Json, *, is_ours: bool = False) -> Object:
    """``container`` with RESTRICTED where neither it nor ``pod`` (a Pod's securityContext) says it.

    Who is run by root, or by whoever its image names, stays as it is: it may need what root has. An image that is ours
    names an ordinary user. The API refuses `allowPrivilegeEscalation: false` beside more rights.
    """
    own = {key: value for key, value in (container.get("securityContext") or {}).items() if value is not None}
    said = {**pod, **own}
    if not _is_ordinary(said, is_ours=is_ours):
        return dict(container)
    added = {key: value for key, value in RESTRICTED.items() if said.get(key) is None}  # null says nothing, too
    if said.get("privileged") or (own.get("capabilities") or {}).get("add"):
        added.pop("allowPrivilegeEscalation", None)
    return {**container, "securityContext": {**added, **own}}


def own_secured(container: Json, pod: Json) -> Object:
    """A container of ours: RESTRICTED, and a root that nobody writes."""
    return secured({**container, "securityContext": dict(READ_ONLY)}, pod, is_ours=True)


def _is_ordinary(said: Json, *, is_ours: bool) -> bool:
    user = said.get("runAsUser")
    if user is None:
        return is_ours or said.get("runAsNonRoot") is True
    return bool(user != 0)
