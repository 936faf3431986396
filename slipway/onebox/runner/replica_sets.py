"""ReplicaSet → Pods: how many to make, which to delete, what to report."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.kube.kinds import POD, REPLICA_SET
from slipway.onebox.runner.moments import Moment, parse_time
from slipway.onebox.runner.ownership import claim
from slipway.onebox.runner.retries import MAX_S, ended_at, retry_after
from slipway.onebox.runner.workload_steps import (
    MAX_BURST,
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
    pods_from,
    prune_zero,
    ready_stamp,
)

KEPT_ENDED = 6
"""Ended Pods that stay to be looked at; as many as it takes for the longest pause."""
FORGOTTEN_AFTER_S = 2 * MAX_S
"""Where none has ended for so long, what did says nothing of the next Pod."""


def plan_replica_set(replica_set: Object, pods: Sequence[Object], now: Moment) -> list[Step]:
    """``pods`` are all Pods of the namespace."""
    if is_going(replica_set):
        return []
    spec = replica_set["spec"]
    owned, claims = claim(replica_set, POD, pods)
    mine = [pod for pod in owned if is_active(pod)]
    wanted = int(spec.get("replicas", 1))
    surplus = sorted(mine, key=_worth)[: max(0, len(mine) - wanted)][:MAX_BURST]
    return [
        *claims,
        *_make(replica_set, pods, _ended(owned), wanted - len(mine), now),
        *(Delete(POD, pod, f"{len(mine)} Pods, {wanted} wanted") for pod in surplus),
        *_forget(_ended(owned), wanted, now),
        *_status(replica_set, mine, now),
    ]


def next_try_at(replica_set: Object, pods: Sequence[Object], now: Moment) -> float:
    """When a Pod may take the place of those that ended; zero where none did."""
    return retry_after(_ended(owned_by(replica_set, pods)), now)


def _make(replica_set: Object, pods: Sequence[Object], ended: Sequence[Object], count: int, now: Moment) -> list[Step]:
    """Pods that end by themselves (a restartPolicy that no Deployment of Kubernetes may have) are replaced ever more slowly."""
    if count <= 0 or now.wall < retry_after(ended, now):
        return []
    made = pods_from(replica_set["spec"]["template"], replica_set, count, taken=pods, now=now.wall)
    return [Create(pod, f"{count} more are wanted") for pod in made]


def _ended(owned: Sequence[Object]) -> list[Object]:
    return [pod for pod in owned if not is_active(pod) and not is_going(pod)]


def _forget(ended: Sequence[Object], wanted: int, now: Moment) -> list[Step]:
    newest = sorted(ended, key=lambda pod: ended_at(pod, now), reverse=True)[: KEPT_ENDED if wanted else 0]
    kept = newest if newest and now.wall - ended_at(newest[0], now) < FORGOTTEN_AFTER_S else []
    gone = [pod for pod in ended if pod not in kept]
    return [Delete(POD, pod, "it ended, and newer ones did") for pod in gone[:MAX_BURST]]


def _worth(pod: Object) -> tuple[bool, float, str]:
    """Unready ones go first, then the youngest, as in Kubernetes."""
    since = ready_stamp(pod)
    return since is not None, -parse_time(since), pod["metadata"]["name"]


def _status(replica_set: Object, mine: Sequence[Object], now: Moment) -> list[Step]:
    min_ready_s = float(replica_set["spec"].get("minReadySeconds") or 0)
    status = prune_zero(
        {
            "fullyLabeledReplicas": len(mine),
            "readyReplicas": sum(ready_stamp(pod) is not None for pod in mine),
            "availableReplicas": sum(is_available(pod, min_ready_s=min_ready_s, now=now) for pod in mine),
            "observedGeneration": replica_set["metadata"].get("generation", 1),
        }
    ) | {"replicas": len(mine)}
    if not differs(replica_set.get("status"), status):
        return []
    return [Change(REPLICA_SET, replica_set, {"status": status}, "counts changed", "status")]
