"""Pods that ended although they should not have: when their workload may try again. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.onebox.runner.moments import Moment, Object

FIRST_S = 10.0
MAX_S = 360.0
"""As Kubernetes' Job controller waits."""


def retry_after(ended: Sequence[Object], now: Moment) -> float:
    """Seconds since the epoch: zero while nothing has ended; then 10 s after the last end, doubling with each."""
    if not ended:
        return 0.0
    return max(ended_at(pod, now) for pod in ended) + min(MAX_S, FIRST_S * 2.0 ** min(len(ended) - 1, 30))


def ended_at(pod: Object, now: Moment) -> float:
    """Seconds since the epoch; where no container says it, when the Pod was made."""
    ends = [
        now.since(pod, item["state"]["terminated"].get("finishedAt"))
        for item in (pod.get("status") or {}).get("containerStatuses") or ()
        if "terminated" in (item.get("state") or {})
    ]
    return max(ends) if ends else now.since(pod, pod["metadata"].get("creationTimestamp"))


def restarts_of(pod: Object) -> int:
    """Of all its containers, those that prepare it included."""
    status = pod.get("status") or {}
    shown = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    return sum(int(item.get("restartCount") or 0) for item in shown)
