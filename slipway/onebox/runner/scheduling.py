"""Which Pods may begin on this machine: Kubernetes' scheduler, of one node that a person may have cordoned. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.onebox.runner.references import NODE_NAME
from slipway.onebox.runner.status import time_text

Object = Mapping[str, Any]
TAINT, EFFECT = "node.kubernetes.io/unschedulable", "NoSchedule"
"""What Kubernetes puts on a cordoned node: a Pod that tolerates it is scheduled all the same."""
NO_NODE = (
    "0/1 nodes are available: 1 node(s) were unschedulable. "
    "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
)
"""The scheduler's own words."""


def is_cordoned(node: Object | None) -> bool:
    return bool(((node or {}).get("spec") or {}).get("unschedulable"))


def may_begin(pod: Object, node: Object | None) -> bool:
    """Who has been given the node stays on it, also after a restart of the machine."""
    return bool(pod["spec"].get("nodeName")) or not is_cordoned(node) or any(map(_tolerates, _tolerations(pod)))


def placed(pod: Object, node: Object | None) -> Object:
    """As it is made by a workload: with the node, where it may begin there."""
    return {**pod, "spec": {**pod["spec"], "nodeName": NODE_NAME}} if may_begin(pod, node) else pod


def unscheduled_status(now: float) -> dict[str, Any]:
    since = {"lastProbeTime": None, "lastTransitionTime": time_text(now)}
    why = {"reason": "Unschedulable", "message": NO_NODE}
    return {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", **since, **why}]}


def _tolerations(pod: Object) -> list[Object]:
    return [item for item in pod["spec"].get("tolerations") or () if isinstance(item, Mapping)]


def _tolerates(toleration: Object) -> bool:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/; the taint has no value."""
    key, operator = toleration.get("key") or "", toleration.get("operator") or "Equal"
    if (toleration.get("effect") or EFFECT) != EFFECT or key not in (TAINT, ""):
        return False
    return operator == "Exists" or (bool(key) and operator == "Equal" and not toleration.get("value"))
