"""One metric → how many replicas it asks for: the rules for Pods that are not ready or whose metric is missing included.

The algorithm is https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details:
``ceil(replicas * current / target)``, nothing inside the tolerance; a Pod without a metric counts as using all of its
request (or the target) when the rest would shrink, and as using nothing when the rest would grow; one that is not ready
yet counts as using nothing when the rest would grow, and not at all otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from slipway.onebox.runner.hpa_spec import Metric, Rules
from slipway.onebox.runner.moments import parse_time
from slipway.onebox.runner.workload_steps import Object, is_going

CPU_INITIALIZATION_S = 300.0
"""For so long after its start a Pod's CPU may be that of its start (--horizontal-pod-autoscaler-cpu-initialization-period)."""
INITIAL_READINESS_S = 30.0
"""A Pod that became unready so early was never ready (--horizontal-pod-autoscaler-initial-readiness-delay)."""

Group = Literal["counted", "unready", "missing", "ignored"]


class Unknown(Exception):
    """No number follows from what is known; the message is that of a condition."""


@dataclass(frozen=True)
class Use:
    """What was measured of one Pod, in thousandths: in the ``window_s`` seconds up to ``age_s`` seconds ago."""

    milli: int
    age_s: float
    window_s: float


@dataclass(frozen=True)
class PodUse:
    """Thousandths: what is used, and what its containers request where the target is a share of that."""

    group: Group
    milli: int = 0
    request: int = 0


@dataclass(frozen=True)
class Proposal:
    """``average``: thousandths per Pod, ``utilization``: percent of the requests; of the Pods that count."""

    replicas: int
    average: int
    utilization: int | None = None


def group_of(pod: Object, use: Use | None, *, is_cpu: bool, now: float) -> Group:
    status = pod.get("status") or {}
    if is_going(pod) or status.get("phase") == "Failed":
        return "ignored"
    if status.get("phase") == "Pending":
        return "unready"
    if use is None:
        return "missing"
    return "unready" if is_cpu and _is_starting(status, use, now) else "counted"


def _is_starting(status: Object, use: Use, now: float) -> bool:
    """Whether a Pod's CPU is that of its start: not ready, or not for as long as the measurement is of."""
    ready = next((item for item in status.get("conditions") or () if item["type"] == "Ready"), None)
    if ready is None or not status.get("startTime"):
        return True
    started, since = parse_time(status["startTime"]), parse_time(ready.get("lastTransitionTime"))
    is_unready: bool = ready["status"] == "False"
    if max(started, since) > now:  # the clock was set back: it was a while ago
        return is_unready
    if started + CPU_INITIALIZATION_S > now:
        return is_unready or now - use.age_s < since + use.window_s
    return is_unready and started + INITIAL_READINESS_S > since


def propose(metric: Metric, pods: Sequence[PodUse], replicas: int, *, up: Rules, down: Rules) -> Proposal:
    """``replicas`` are those of the target now. Raises Unknown."""
    if not pods:
        raise Unknown("no pods returned by selector while calculating replica count")
    counted = [pod for pod in pods if pod.group == "counted"]
    if not counted:
        raise Unknown("did not receive metrics for targeted pods (pods might be unready)")
    ratio, average, utilization = _ratio(metric, counted)
    if _is_near(ratio, up, down):
        return Proposal(replicas, average, utilization)
    return Proposal(_wanted(metric, pods, replicas, ratio=ratio, up=up, down=down), average, utilization)


def _wanted(metric: Metric, pods: Sequence[PodUse], replicas: int, *, ratio: float, up: Rules, down: Rules) -> int:
    counted = [pod for pod in pods if pod.group == "counted"]
    missing = [pod for pod in pods if pod.group == "missing"]
    unready = [pod for pod in pods if pod.group == "unready"] if ratio > 1 else []
    if not missing and not unready:
        return _ceil(ratio * len(counted))
    supposed = [PodUse("counted", _supposed(metric, pod, ratio), pod.request) for pod in missing]
    supposed += [PodUse("counted", 0, pod.request) for pod in unready]
    everything = [*counted, *supposed]
    again = _ratio(metric, everything)[0]
    if _is_near(again, up, down) or (ratio - 1) * (again - 1) < 0:
        return replicas
    wanted = _ceil(again * len(everything))
    turns = (again < 1 and wanted > replicas) or (again > 1 and wanted < replicas)
    return replicas if turns else wanted


def _supposed(metric: Metric, pod: PodUse, ratio: float) -> int:
    """Of a Pod whose metric is missing: what changes the number of replicas least."""
    if ratio > 1:
        return 0
    if metric.is_utilization:
        return pod.request * max(100, metric.target) // 100
    return metric.target


def _ratio(metric: Metric, pods: Sequence[PodUse]) -> tuple[float, int, int | None]:
    """Current by wanted, and both forms of current."""
    total = sum(pod.milli for pod in pods)
    average = total // len(pods)
    if not metric.is_utilization:
        return total / len(pods) / metric.target, average, None
    requests = sum(pod.request for pod in pods)
    if not requests:
        raise Unknown(f"no {metric.resource} is requested by the Pods")
    utilization = total * 100 // requests
    return utilization / metric.target, average, utilization


def _is_near(ratio: float, up: Rules, down: Rules) -> bool:
    return 1 - down.tolerance <= ratio <= 1 + up.tolerance


def _ceil(value: float) -> int:
    return math.ceil(round(value, 9))  # 3 * (400 / 300) is 4, whatever its last binary digit says
