"""The status of a Deployment, in the words that ``kubectl rollout status`` and ``kubectl wait`` read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.onebox.runner.moments import Moment, Object
from slipway.onebox.runner.workload_steps import prune_zero

DEFAULT_DEADLINE_S = 600
PAUSED, RESUMED, TIMED_OUT = "DeploymentPaused", "DeploymentResumed", "ProgressDeadlineExceeded"


@dataclass(frozen=True)
class Counts:
    """Pods: ``total`` of all templates, ``updated`` of the current one; ``wanted`` is what the ReplicaSets ask for."""

    desired: int
    minimum: int
    total: int
    wanted: int
    updated: int
    ready: int
    available: int
    new_name: str = ""


def render_deployment_status(deployment: Object, counts: Counts, now: Moment) -> dict[str, Any]:
    old = deployment.get("status") or {}
    status = prune_zero(
        {
            "observedGeneration": deployment["metadata"].get("generation", 1),
            "replicas": counts.total,
            "updatedReplicas": counts.updated,
            "readyReplicas": counts.ready,
            "availableReplicas": counts.available,
            "unavailableReplicas": max(0, max(counts.wanted, counts.desired) - counts.available),
        }
    )
    conditions = [
        *_others(old),
        _available(old, counts, now),
        _paused(old, now) if deployment["spec"].get("paused") else _progressing(deployment, counts, now),
    ]
    return {**status, "conditions": conditions}


def is_complete(counts: Counts) -> bool:
    return counts.updated == counts.total == counts.available == counts.desired and bool(counts.new_name)


def _available(old: Object, counts: Counts, now: Moment) -> dict[str, Any]:
    if counts.available >= counts.minimum:
        return _condition(
            old, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now
        )
    message = "Deployment does not have minimum availability."
    return _condition(old, "Available", "False", "MinimumReplicasUnavailable", message, now)


def _progressing(deployment: Object, counts: Counts, now: Moment) -> dict[str, Any]:
    old, name = deployment.get("status") or {}, deployment["metadata"]["name"]
    before = _find(old, "Progressing")
    subject = f'ReplicaSet "{counts.new_name}"' if counts.new_name else f'Deployment "{name}"'
    is_seen = old.get("observedGeneration") == deployment["metadata"].get("generation", 1)
    if is_complete(counts):
        return _condition(
            old, "Progressing", "True", "NewReplicaSetAvailable", f"{subject} has successfully progressed.", now
        )
    if is_seen and before.get("reason") == "NewReplicaSetAvailable" and counts.updated == counts.total:
        return dict(before)  # the roll-out was done; a Pod that fails later is no roll-out
    if before.get("reason") == PAUSED:
        return _condition(old, "Progressing", "Unknown", RESUMED, "Deployment is resumed", now)
    if _has_progress(old, counts) or not before or not is_seen:
        return _condition(
            old, "Progressing", "True", "ReplicaSetUpdated", f"{subject} is progressing.", now, touch=True
        )
    limit_s = float(deployment["spec"].get("progressDeadlineSeconds") or DEFAULT_DEADLINE_S)
    if before.get("reason") == TIMED_OUT or now.age_s(deployment, before.get("lastUpdateTime")) > limit_s:
        message = f"{subject} has timed out progressing."
        return _condition(old, "Progressing", "False", TIMED_OUT, message, now)
    return dict(before)


def _paused(old: Object, now: Moment) -> dict[str, Any]:
    """No deadline is counted; what has timed out stays so."""
    before = _find(old, "Progressing")
    if before.get("reason") == TIMED_OUT:
        return dict(before)
    return _condition(old, "Progressing", "Unknown", PAUSED, "Deployment is paused", now)


def deadline_at(deployment: Object, now: Moment) -> float | None:
    """When a roll-out that is under way is given up; None where none is."""
    before = _find(deployment.get("status") or {}, "Progressing")
    if before.get("reason") not in ("ReplicaSetUpdated", RESUMED):
        return None
    limit_s = float(deployment["spec"].get("progressDeadlineSeconds") or DEFAULT_DEADLINE_S)
    return now.since(deployment, before.get("lastUpdateTime")) + limit_s + 1


def _has_progress(old: Object, counts: Counts) -> bool:
    was = {key: int(old.get(key) or 0) for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")}
    return (
        counts.updated > was["updatedReplicas"]
        or counts.ready > was["readyReplicas"]
        or counts.available > was["availableReplicas"]
        or counts.total - counts.updated < was["replicas"] - was["updatedReplicas"]
    )


def _condition(
    old: Object, kind: str, value: str, reason: str, message: str, now: Moment, *, touch: bool = False
) -> dict[str, Any]:
    """Times stay while nothing changes; ``touch`` says that there was progress."""
    before = _find(old, kind)
    same = (before.get("status"), before.get("reason"), before.get("message")) == (value, reason, message)
    if same and not touch:
        return dict(before)
    since = before["lastTransitionTime"] if before.get("status") == value else now.text
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "lastUpdateTime": now.text,
        "lastTransitionTime": since,
    }


def _find(status: Object, kind: str) -> Mapping[str, Any]:
    return next((item for item in status.get("conditions") or () if item["type"] == kind), {})


def _others(status: Object) -> list[Any]:
    return [item for item in status.get("conditions") or () if item["type"] not in ("Available", "Progressing")]
