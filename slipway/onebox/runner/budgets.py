"""PodDisruptionBudget → its status: how many of its Pods may be evicted now, as Kubernetes' disruption controller counts.

https://kubernetes.io/docs/tasks/run-application/configure-pdb/. The API refuses an eviction (``kubectl drain``) where the
status allows none; the runner itself evicts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.kube.kinds import POD_DISRUPTION_BUDGET
from slipway.kube.selectors import selector_matches
from slipway.onebox.runner.moments import Moment
from slipway.onebox.runner.workload_steps import (
    Change,
    Object,
    Step,
    controller_uid,
    is_going,
    ready_stamp,
)

EVICTED_FOR_S = 120.0
"""So long after its eviction a Pod counts as going, although nobody has seen it go."""


@dataclass(frozen=True)
class Health:
    """Pods of a budget."""

    expected: int
    desired: int
    current: int

    @property
    def allowed(self) -> int:
        return max(0, self.current - self.desired) if self.expected > 0 else 0


def plan_budget(
    budget: Object, pods: Sequence[Object], replica_sets: Sequence[Object], deployments: Sequence[Object], now: Moment
) -> list[Step]:
    """``pods``, ``replica_sets`` and ``deployments`` are all of the namespace."""
    if is_going(budget):
        return []
    selector = budget["spec"].get("selector")
    mine = [
        pod for pod in pods if selector is not None and selector_matches(selector, pod["metadata"].get("labels") or {})
    ]
    old = budget.get("status") or {}
    evicted = _evicted(budget, mine, now)
    healthy = sum(ready_stamp(pod) is not None and pod["metadata"]["name"] not in evicted for pod in mine)
    health = _health(budget["spec"], mine, replicas_of(mine, replica_sets, deployments), healthy)
    status = _status(budget, health, evicted, now)
    forgotten = {name: None for name in old.get("disruptedPods") or {} if name not in evicted}
    if not forgotten and all(old.get(key, {} if key == "disruptedPods" else None) == status[key] for key in status):
        return []
    patch = {**status, "disruptedPods": {**forgotten, **evicted}}
    return [Change(POD_DISRUPTION_BUDGET, budget, {"status": patch}, "the number of healthy Pods changed", "status")]


def replicas_of(pods: Sequence[Object], replica_sets: Sequence[Object], deployments: Sequence[Object]) -> int:
    """What the Deployments and ReplicaSets of these Pods ask for, each once; a Pod of nobody is one."""
    owners = {obj["metadata"]["uid"]: obj for obj in (*replica_sets, *deployments)}
    found: dict[str, int] = {}
    for pod in pods:
        uid = controller_uid(pod)
        owner = owners.get(uid or "")
        above = owners.get(controller_uid(owner) or "") if owner is not None else None
        top = above or owner
        key = top["metadata"]["uid"] if top is not None else pod["metadata"]["uid"]
        found[key] = int(top["spec"].get("replicas", 1)) if top is not None else 1
    return sum(found.values())


def _health(spec: Mapping[str, Any], pods: Sequence[Object], replicas: int, healthy: int) -> Health:
    if spec.get("maxUnavailable") is not None:
        return Health(replicas, max(0, replicas - _share(spec["maxUnavailable"], replicas)), healthy)
    least = spec.get("minAvailable", 0)
    if isinstance(least, str) and least.endswith("%"):
        return Health(replicas, _share(least, replicas), healthy)
    return Health(len(pods), int(least), healthy)


def _share(value: object, replicas: int) -> int:
    """A number, or percent rounded up, as both of a budget's fields are."""
    text = str(value)
    return math.ceil(replicas * int(text[:-1]) / 100) if text.endswith("%") else int(text)


def _evicted(budget: Object, pods: Sequence[Object], now: Moment) -> dict[str, str]:
    """Evicted Pods that still look healthy."""
    there = {pod["metadata"]["name"] for pod in pods if not is_going(pod)}
    return {
        name: at
        for name, at in ((budget.get("status") or {}).get("disruptedPods") or {}).items()
        if name in there and now.age_s(budget, at) < EVICTED_FOR_S
    }


def _status(budget: Object, health: Health, evicted: Mapping[str, str], now: Moment) -> dict[str, Any]:
    generation = budget["metadata"].get("generation", 1)
    value, reason = ("True", "SufficientPods") if health.allowed else ("False", "InsufficientPods")
    before: Object = next(iter((budget.get("status") or {}).get("conditions") or ()), {})
    since = before["lastTransitionTime"] if before.get("status") == value else now.text
    condition = {
        "type": "DisruptionAllowed",
        "status": value,
        "observedGeneration": generation,
        "lastTransitionTime": since,
        "reason": reason,
        "message": "",
    }
    return {
        "observedGeneration": generation,
        "currentHealthy": health.current,
        "desiredHealthy": health.desired,
        "expectedPods": health.expected,
        "disruptionsAllowed": health.allowed,
        "disruptedPods": dict(evicted),
        "conditions": [condition],
    }
