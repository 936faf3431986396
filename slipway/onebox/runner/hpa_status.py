"""The status of a HorizontalPodAutoscaler, in the words that ``kubectl get`` and ``kubectl describe`` read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.contract.quantity import quantity_text
from slipway.onebox.runner.hpa import Condition, Decision
from slipway.onebox.runner.hpa_metrics import Proposal
from slipway.onebox.runner.hpa_spec import Autoscaler, Metric, Unreadable
from slipway.onebox.runner.moments import Object, time_text

METRICS_S = 15.0
ORDER = ("AbleToScale", "ScalingActive", "ScalingLimited")


def render_status(
    old: Object, spec: Autoscaler | None, decision: Decision, *, replicas: int, is_rescaled: bool, now: float
) -> dict[str, Any]:
    """``replicas``: of the target when it was decided. What is not known any more stays as it was."""
    desired = old.get("desiredReplicas", 0) if decision.replicas is None else decision.replicas
    status: dict[str, Any] = {
        "currentReplicas": replicas,
        "desiredReplicas": desired,
        "conditions": _conditions(old, decision.conditions, now),
        "currentMetrics": old.get("currentMetrics") if decision.replicas is None else None,
    }
    if spec is not None and decision.results is not None:
        pairs = zip(spec.metrics, decision.results, strict=True)
        status["currentMetrics"] = [render_metric(metric, result) for metric, result in pairs]
    if is_rescaled:
        status["lastScaleTime"] = time_text(now)
    return status


def is_worth_writing(old: Object, new: Object, *, age_s: float) -> bool:
    """Measurements that change a little at every look are written every ``METRICS_S`` only."""
    changed = {key for key, value in new.items() if old.get(key) != value}
    return bool(changed - {"currentMetrics"}) or (bool(changed) and age_s >= METRICS_S)


def _conditions(old: Object, new: Mapping[str, Condition], now: float) -> list[dict[str, Any]]:
    given = old.get("conditions") or ()
    before = {item["type"]: item for item in given if item.get("type") and item.get("lastTransitionTime")}
    found = {**before, **{kind: _condition(kind, item, before.get(kind), now) for kind, item in new.items()}}
    return [found[kind] for kind in sorted(found, key=lambda kind: (*ORDER, kind).index(kind))]


def _condition(kind: str, condition: Condition, before: Object | None, now: float) -> dict[str, Any]:
    value = "True" if condition.is_true else "False"
    is_same = before is not None and before.get("status") == value
    return {
        "type": kind,
        "status": value,
        "lastTransitionTime": before["lastTransitionTime"] if before is not None and is_same else time_text(now),
        "reason": condition.reason,
        "message": condition.message,
    }


def render_metric(metric: Metric | Unreadable, result: Proposal | Unreadable) -> dict[str, Any]:
    """Without a type where it could not be read, as Kubernetes leaves its place."""
    if isinstance(metric, Unreadable) or isinstance(result, Unreadable):
        return {"type": ""}
    current: dict[str, Any] = {"averageValue": quantity_text(result.average)}
    if result.utilization is not None:
        current["averageUtilization"] = result.utilization
    if metric.kind == "Resource":
        return {"type": metric.kind, "resource": {"name": metric.resource, "current": current}}
    if metric.kind == "ContainerResource":
        source = {"name": metric.resource, "container": metric.container, "current": current}
        return {"type": metric.kind, "containerResource": source}
    named: dict[str, Any] = {"name": metric.series.name}
    if metric.series.labels:
        named["selector"] = {"matchLabels": dict(metric.series.labels)}
    return {"type": metric.kind, "pods": {"metric": named, "current": current}}
