"""Which Pods may begin on this machine: Kubernetes' scheduler, of one node that may be full or cordoned. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.onebox.runner.claims import claim_obstacle
from slipway.onebox.runner.moments import time_text
from slipway.onebox.runner.references import NODE_NAME

Object = Mapping[str, Any]
TAINT, EFFECT = "node.kubernetes.io/unschedulable", "NoSchedule"
"""What Kubernetes puts on a cordoned node: a Pod that tolerates it is scheduled all the same."""
MAX_PODS = 250
"""Pods that have a place at a time, as the Node shows it; those that have ended need none."""
NO_NODE = (
    "0/1 nodes are available: 1 node(s) were unschedulable. "
    "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
)
NO_PLACE = (
    "0/1 nodes are available: 1 Too many pods. "
    "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
)
NO_CLAIM = (
    "0/1 nodes are available: {why}. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
)
"""The scheduler's own words."""


def is_cordoned(node: Object | None) -> bool:
    return bool(((node or {}).get("spec") or {}).get("unschedulable"))


def obstacle(pod: Object, node: Object | None, used: int, claims: Mapping[tuple[str, str], Object]) -> str:
    """Why a Pod that has not begun has to wait; '' where it may begin. ``used`` is how many have a place.

    Who has been given the node is not asked about the cordon again.
    """
    if not pod["spec"].get("nodeName") and is_cordoned(node) and not any(map(_tolerates, _tolerations(pod))):
        return NO_NODE
    if why := claim_obstacle(pod, claims):
        return NO_CLAIM.format(why=why)
    return NO_PLACE if used >= MAX_PODS else ""


def placed(pod: Object, node: Object | None, used: int, claims: Mapping[tuple[str, str], Object]) -> Object:
    """As it is made by a workload: with the node, where it may begin there."""
    return pod if obstacle(pod, node, used, claims) else {**pod, "spec": {**pod["spec"], "nodeName": NODE_NAME}}


def has_begun(pod: Object) -> bool:
    return bool((pod.get("status") or {}).get("startTime"))


def has_ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def unscheduled_status(why: str, now: float) -> dict[str, Any]:
    since = {"lastProbeTime": None, "lastTransitionTime": time_text(now)}
    condition = {"type": "PodScheduled", "status": "False", **since, "reason": "Unschedulable", "message": why}
    return {"phase": "Pending", "conditions": [condition]}


def _tolerations(pod: Object) -> list[Object]:
    return [item for item in pod["spec"].get("tolerations") or () if isinstance(item, Mapping)]


def _tolerates(toleration: Object) -> bool:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/; the taint has no value."""
    key, operator = toleration.get("key") or "", toleration.get("operator") or "Equal"
    if (toleration.get("effect") or EFFECT) != EFFECT or key not in (TAINT, ""):
        return False
    return operator == "Exists" or (bool(key) and operator == "Equal" and not toleration.get("value"))
