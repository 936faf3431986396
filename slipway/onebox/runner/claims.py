"""PersistentVolumeClaims of one machine: which folder is whose, which Pods have to wait, what a claim needs next. Pure.

A folder has its claim's uid in its name, so that whoever takes the name later gets another folder. As in Kubernetes a
claim has a finalizer while it may be used: its folder goes before the object does, and not before the last Pod.
https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal

from slipway.kube.malformed import MALFORMED
from slipway.onebox.file_names import file_name

Object = Mapping[str, Any]
Key = tuple[str, str]
Step = Literal["protect", "bind", "release"]
PROTECTION = "kubernetes.io/pvc-protection"
BOUND = "Bound"


def claims_of(pod: Object) -> frozenset[Key]:
    """(namespace, name) of the claims that a Pod names; none of one that cannot be read, which never begins."""
    namespace = str(pod["metadata"].get("namespace") or "")
    try:
        found = [volume.get("persistentVolumeClaim") for volume in pod["spec"].get("volumes") or ()]
        return frozenset((namespace, str(claim["claimName"])) for claim in found if claim is not None)
    except MALFORMED:
        return frozenset()


def claim_obstacle(pod: Object, claims: Mapping[Key, Object]) -> str:
    """Why a Pod cannot have its claims yet, in the scheduler's words; '' where it can."""
    for key in sorted(claims_of(pod)):
        claim = claims.get(key)
        if claim is None:
            return f'persistentvolumeclaim "{key[1]}" not found'
        if is_going(claim):
            return f'persistentvolumeclaim "{key[1]}" is being deleted'
        if phase_of(claim) != BOUND:
            return "pod has unbound immediate PersistentVolumeClaims"
    return ""


def next_step(claim: Object, *, is_used: bool) -> Step | None:
    """``protect``: it has no finalizer; ``bind``: Pods may use it; ``release``: its folder goes, then it does."""
    if is_going(claim):
        return "release" if _is_protected(claim) and not is_used else None
    if not _is_protected(claim):
        return "protect"
    return "bind" if phase_of(claim) != BOUND else None


def patch_of(claim: Object, step: Step) -> dict[str, Any]:
    """The merge patch of a step, of this version of the claim only. ``bind`` is one of its status."""
    meta = claim["metadata"]
    same = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
    if step == "bind":
        spec = claim["spec"]
        requests = (spec.get("resources") or {}).get("requests") or {}
        status = {"phase": BOUND, "accessModes": spec.get("accessModes") or [], "capacity": dict(requests)}
        return {"metadata": same, "status": status}
    others = [name for name in meta.get("finalizers") or () if name != PROTECTION]
    return {"metadata": {**same, "finalizers": [*others, *([PROTECTION] if step == "protect" else [])]}}


def users_of_claims(pods: Collection[Object]) -> frozenset[Key]:
    """The claims of Pods that have a node, of those that have ended too: as Kubernetes counts."""
    return frozenset(key for pod in pods if pod["spec"].get("nodeName") for key in claims_of(pod))


def folder_name(claim: Object) -> str:
    meta = claim["metadata"]
    return file_name(f"{meta['namespace']}_{meta['name']}_{meta['uid']}")


def nameless_folder(claim: Object) -> str:
    """What releases before this one called it, with a claim or without one."""
    return file_name(f"{claim['metadata']['namespace']}_{claim['metadata']['name']}")


def may_inherit(changed_at: float, namespace: Object | None) -> bool:
    """Whether a folder of an earlier release, last changed then (Unix seconds), is this namespace's own.

    One that was last changed before the namespace was made is another's, who had that name before.
    """
    made = ((namespace or {}).get("metadata") or {}).get("creationTimestamp")
    return made is not None and datetime.fromisoformat(made).timestamp() <= changed_at


def is_going(claim: Object) -> bool:
    return bool(claim["metadata"].get("deletionTimestamp"))


def phase_of(claim: Object) -> str:
    return str((claim.get("status") or {}).get("phase") or "")


def _is_protected(claim: Object) -> bool:
    return PROTECTION in (claim["metadata"].get("finalizers") or ())
