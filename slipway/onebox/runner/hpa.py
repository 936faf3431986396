"""HorizontalPodAutoscaler → the number of replicas of its target from now on, and what its status says. Pure.

As Kubernetes' own (pkg/controller/podautoscaler): the highest number that a metric asks for; where one cannot be read the
others may only raise it. Reasons and messages are those that ``kubectl describe hpa`` shows there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from slipway.onebox.runner import hpa_limits
from slipway.onebox.runner.hpa_limits import History
from slipway.onebox.runner.hpa_metrics import Proposal, Unknown, Use, propose
from slipway.onebox.runner.hpa_pods import Source, uses_of
from slipway.onebox.runner.hpa_spec import Autoscaler, Metric, Unreadable
from slipway.onebox.runner.workload_steps import Object

ABLE, ACTIVE, LIMITED = "AbleToScale", "ScalingActive", "ScalingLimited"


@dataclass(frozen=True)
class Condition:
    is_true: bool
    reason: str
    message: str


@dataclass(frozen=True)
class Complaint:
    """A Kubernetes event of type Warning."""

    reason: str
    message: str


@dataclass(frozen=True)
class Decision:
    """``replicas``: of the target from now on; None where nothing can be decided. ``reason``: why they change.

    ``results``: of each metric, None where they were not asked. ``conditions`` by type, those that are known now.
    """

    replicas: int | None
    history: History
    conditions: Mapping[str, Condition]
    reason: str = ""
    results: Sequence[Proposal | Unreadable] | None = None
    complaints: tuple[Complaint, ...] = field(default=())


def decide(
    spec: Autoscaler,
    *,
    replicas: int,
    pods: Sequence[Object],
    measured: Mapping[Source, Use],
    history: History,
    now: float,
    pods_now: float,
) -> Decision:
    """``replicas`` and ``pods`` are the target's: what its spec asks for now, and whatever its selector finds.

    ``now`` is ``boot_time``'s, as in ``history``; ``pods_now`` the same moment in Unix seconds, as in the Pods' status.
    """
    history = hpa_limits.begun(history, replicas, now)
    able = {ABLE: Condition(True, "SucceededGetScale", "the HPA controller was able to get the target's current scale")}
    if replicas == 0 and spec.minimum != 0:
        message = "scaling is disabled since the replica count of the target is zero"
        return Decision(0, history, {**able, ACTIVE: Condition(False, "ScalingDisabled", message)})
    if replicas > spec.maximum:
        return _moved(Decision(spec.maximum, history, able, "Current number of replicas above Spec.MaxReplicas"))
    if replicas < spec.minimum:
        return _moved(Decision(spec.minimum, history, able, "Current number of replicas below Spec.MinReplicas"))
    results = [_result(metric, spec, pods, measured, replicas=replicas, pods_now=pods_now) for metric in spec.metrics]
    return _by_metrics(spec, results, replicas=replicas, history=history, able=able, now=now)


def rescaled(decision: Decision, spec: Autoscaler, *, old: int, now: float) -> Decision:
    """After the target was given its new number."""
    assert decision.replicas is not None  # noqa: S101  - it was written
    history = hpa_limits.changed(decision.history, spec, old=old, new=decision.replicas, now=now)
    return replace(decision, history=history)


def not_rescaled(decision: Decision, error: str) -> Decision:
    """After the API refused the new number."""
    why = Condition(False, "FailedUpdateScale", f"the HPA controller was unable to update the target scale: {error}")
    warning = Complaint("FailedRescale", f"New size: {decision.replicas}; reason: {decision.reason}; error: {error}")
    return replace(
        decision,
        replicas=None,
        conditions={**decision.conditions, ABLE: why},
        complaints=(*decision.complaints, warning),
    )


def without_target(error: str) -> Decision:
    """The target is not there, or is nothing that can be scaled."""
    why = Condition(
        False, "FailedGetScale", f"the HPA controller was unable to get the target's current scale: {error}"
    )
    return Decision(None, History(), {ABLE: why}, complaints=(Complaint("FailedGetScale", error),))


def ambiguous(names: Sequence[str], history: History) -> Decision:
    """Several autoscalers want one target: whoever acted, the other would undo it."""
    message = f"the target is scaled by several HorizontalPodAutoscalers, {', '.join(names)}: keep one"
    why = Condition(False, "AmbiguousSelector", message)
    return Decision(None, history, {ACTIVE: why}, complaints=(Complaint("AmbiguousSelector", message),))


def _moved(decision: Decision) -> Decision:
    message = f"the HPA controller was able to update the target scale to {decision.replicas}"
    return replace(decision, conditions={**decision.conditions, ABLE: Condition(True, "SucceededRescale", message)})


def _result(
    metric: Metric | Unreadable,
    spec: Autoscaler,
    pods: Sequence[Object],
    measured: Mapping[Source, Use],
    *,
    replicas: int,
    pods_now: float,
) -> Proposal | Unreadable:
    if isinstance(metric, Unreadable):
        return metric
    try:
        return propose(metric, uses_of(metric, pods, measured, pods_now), replicas, up=spec.up, down=spec.down)
    except Unknown as exc:
        return Unreadable(metric.failure, f"unable to get {metric.title}: {exc}")


def _by_metrics(
    spec: Autoscaler,
    results: Sequence[Proposal | Unreadable],
    *,
    replicas: int,
    history: History,
    able: Mapping[str, Condition],
    now: float,
) -> Decision:
    failures = [item for item in results if isinstance(item, Unreadable)]
    complaints = tuple(Complaint(item.failure, item.message) for item in failures)
    read = [(metric, item) for metric, item in zip(spec.metrics, results, strict=True) if isinstance(item, Proposal)]
    metric, best = max(read, key=lambda pair: pair[1].replicas, default=(None, Proposal(0, 0)))
    if not isinstance(metric, Metric) or (failures and best.replicas < replicas):
        return _unknown(failures, len(results), history=history, able=able, complaints=complaints)
    limited = hpa_limits.limit(spec, history, replicas, best.replicas, now)
    message = f"the HPA was able to successfully calculate a replica count from {metric.title}"
    decision = Decision(
        limited.replicas,
        hpa_limits.recommend(history, spec, best.replicas, now),
        {
            ABLE: Condition(True, *limited.stabilized),
            ACTIVE: Condition(True, "ValidMetricFound", message),
            LIMITED: Condition(limited.is_limited, *limited.limited),
        },
        reason="All metrics below target" if limited.replicas < replicas else f"{metric.title} above target",
        results=results,
        complaints=complaints,
    )
    return decision if limited.replicas == replicas else _moved(decision)


def _unknown(
    failures: Sequence[Unreadable],
    count: int,
    *,
    history: History,
    able: Mapping[str, Condition],
    complaints: tuple[Complaint, ...],
) -> Decision:
    """Nothing is changed: no metric can be read, or fewer replicas might be too few for one that cannot."""
    first = failures[0] if failures else Unreadable("FailedGetMetrics", "spec.metrics is empty: nothing is measured")
    message = f"the HPA was unable to compute the replica count: {first.message}"
    text = f"invalid metrics ({len(failures)} invalid out of {count}), first error is: {first.message}"
    return Decision(
        None,
        history,
        {**able, ACTIVE: Condition(False, first.failure, message)},
        complaints=(*complaints, Complaint("FailedComputeMetricsReplicas", text)),
    )
