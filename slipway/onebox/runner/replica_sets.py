"""ReplicaSet → Pods: how many to make, which to delete, what to report."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.kube.kinds import POD, REPLICA_SET
from slipway.onebox.runner.workload_steps import (
    Change,
    Create,
    Delete,
    Object,
    Step,
    differs,
    is_active,
    is_available,
    is_going,
    owned_by,
    pod_from,
    prune_zero,
    ready_since,
)

MAX_BURST = 500
"""Pods made in one round."""


def plan_replica_set(replica_set: Object, pods: Sequence[Object], now: float) -> list[Step]:
    """``pods`` are all Pods of the namespace."""
    if is_going(replica_set):
        return []
    spec = replica_set["spec"]
    mine = [pod for pod in owned_by(replica_set, pods) if is_active(pod)]
    wanted = int(spec.get("replicas", 1))
    steps: list[Step] = []
    taken = [pod["metadata"]["name"] for pod in pods]
    for _ in range(min(MAX_BURST, max(0, wanted - len(mine)))):
        pod = pod_from(spec["template"], replica_set, taken=taken, now=now)
        taken.append(pod["metadata"]["name"])
        steps.append(Create(pod, f"{len(mine)} of {wanted} Pods"))
    surplus = sorted(mine, key=_worth)[: max(0, len(mine) - wanted)]
    steps += [Delete(POD, pod, f"{len(mine)} Pods, {wanted} wanted") for pod in surplus]
    return [*steps, *_status(replica_set, mine, now)]


def _worth(pod: Object) -> tuple[bool, float, str]:
    """Unready ones go first, then the youngest, as in Kubernetes."""
    since = ready_since(pod)
    return since is not None, -(since or 0.0), pod["metadata"]["name"]


def _status(replica_set: Object, mine: Sequence[Object], now: float) -> list[Step]:
    min_ready_s = float(replica_set["spec"].get("minReadySeconds") or 0)
    status = prune_zero(
        {
            "fullyLabeledReplicas": len(mine),
            "readyReplicas": sum(ready_since(pod) is not None for pod in mine),
            "availableReplicas": sum(is_available(pod, min_ready_s=min_ready_s, now=now) for pod in mine),
            "observedGeneration": replica_set["metadata"].get("generation", 1),
        }
    ) | {"replicas": len(mine)}
    if not differs(replica_set.get("status"), status):
        return []
    return [Change(REPLICA_SET, replica_set, {"status": status}, "counts changed", "status")]
