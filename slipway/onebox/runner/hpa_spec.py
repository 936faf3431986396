"""HorizontalPodAutoscaler (autoscaling/v2) → what the decision needs: bounds, metrics, rules of each direction.

Defaults are Kubernetes' own: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#default-behavior
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from slipway.contract.quantity import parse_quantity
from slipway.onebox.runner.workload_steps import Object

TOLERANCE = 0.1
UP_WINDOW_S = 0
DOWN_WINDOW_S = 300
MILLI = 1000
MAX_METRICS = 32
"""Of one autoscaler: each is looked for in what every Pod of its target shows."""

Select = Literal["Max", "Min", "Disabled"]


@dataclass(frozen=True)
class Policy:
    """At most ``value`` Pods, or percent of them, more or fewer in any ``period_s`` seconds."""

    is_percent: bool
    value: int
    period_s: int


@dataclass(frozen=True)
class Rules:
    """One direction. ``window_s``: how long recommendations are remembered before one is followed."""

    window_s: int
    policies: tuple[Policy, ...]
    select: Select = "Max"
    tolerance: float = TOLERANCE


UP = Rules(UP_WINDOW_S, (Policy(False, 4, 15), Policy(True, 100, 15)))
DOWN = Rules(DOWN_WINDOW_S, (Policy(True, 100, 15),))


@dataclass(frozen=True)
class Series:
    """A metric of Pods: its name, and the labels that its series must have."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Metric:
    """``target``: thousandths per Pod, or percent of what the containers request where ``is_utilization``.

    ``resource``: cpu or memory, else ``series`` is read; ``container`` '' means all of a Pod.
    """

    kind: Literal["Resource", "ContainerResource", "Pods"]
    target: int
    is_utilization: bool = False
    resource: str = ""
    container: str = ""
    series: Series = field(default_factory=lambda: Series(""))

    @property
    def failure(self) -> str:
        """The reason of a condition and an event where it cannot be read."""
        return f"FailedGet{self.kind}Metric"

    @property
    def title(self) -> str:
        """What events call it."""
        if self.kind == "Pods":
            return f"pods metric {self.series.name}"
        text = f"{self.resource} {'container resource' if self.container else 'resource'}"
        return f"{text} utilization (percentage of request)" if self.is_utilization else text


@dataclass(frozen=True)
class Unreadable:
    """A metric of the spec that nothing can measure here, and why."""

    failure: str
    message: str


@dataclass(frozen=True)
class Autoscaler:
    minimum: int
    maximum: int
    metrics: tuple[Metric | Unreadable, ...]
    up: Rules = UP
    down: Rules = DOWN

    @property
    def series(self) -> frozenset[Series]:
        """What is to be read at the Pods' metric paths."""
        return frozenset(item.series for item in self.metrics if isinstance(item, Metric) and item.kind == "Pods")

    @property
    def resources(self) -> frozenset[str]:
        return frozenset(item.resource for item in self.metrics if isinstance(item, Metric) and item.resource)


def parse_autoscaler(hpa: Object) -> Autoscaler:
    """Of an object that the API has accepted and defaulted."""
    spec = hpa["spec"]
    behavior = spec.get("behavior") or {}
    return Autoscaler(
        minimum=1 if spec.get("minReplicas") is None else int(spec["minReplicas"]),
        maximum=int(spec["maxReplicas"]),
        metrics=tuple(_metrics(spec.get("metrics") or ())),
        up=_rules(behavior.get("scaleUp") or {}, UP),
        down=_rules(behavior.get("scaleDown") or {}, DOWN),
    )


def _rules(spec: Mapping[str, Any], default: Rules) -> Rules:
    window_s, tolerance = spec.get("stabilizationWindowSeconds"), spec.get("tolerance")
    policies = tuple(
        Policy(item["type"] == "Percent", int(item["value"]), int(item["periodSeconds"]))
        for item in spec.get("policies") or ()
    )
    return Rules(
        window_s=default.window_s if window_s is None else int(window_s),
        policies=policies or default.policies,
        select=spec.get("selectPolicy") or default.select,
        tolerance=TOLERANCE if tolerance is None else float(parse_quantity(tolerance)),
    )


def _metrics(specs: Sequence[Mapping[str, Any]]) -> Iterator[Metric | Unreadable]:
    yield from map(_metric, specs[:MAX_METRICS])
    if len(specs) > MAX_METRICS:
        yield from [Unreadable("FailedGetMetrics", f"no more than {MAX_METRICS} metrics are measured")] * (
            len(specs) - MAX_METRICS
        )


def _metric(spec: Mapping[str, Any]) -> Metric | Unreadable:
    kind = spec["type"]
    match kind:
        case "Resource":
            return _resource(kind, spec["resource"])
        case "ContainerResource":
            return _resource(kind, spec["containerResource"])
        case "Pods":
            return _pods(spec["pods"])
    return Unreadable(f"FailedGet{kind}Metric", _needs_an_adapter(kind, spec.get(kind.lower()) or {}))


def _needs_an_adapter(kind: str, source: Mapping[str, Any]) -> str:
    name = (source.get("metric") or {}).get("name") or "without a name"
    return (
        f"{kind.lower()} metric {name}: no metrics adapter is on one machine, where metrics of type Resource, "
        "ContainerResource and Pods are measured"
    )


def _resource(kind: Literal["Resource", "ContainerResource"], source: Mapping[str, Any]) -> Metric | Unreadable:
    name, target = str(source["name"]), source["target"]
    if name not in ("cpu", "memory"):
        return Unreadable(f"FailedGet{kind}Metric", f"resource {name!r} is not measured: cpu and memory are")
    container = str(source.get("container") or "")
    if target.get("averageUtilization") is not None:
        percent = int(target["averageUtilization"])
        return Metric(kind, percent, is_utilization=True, resource=name, container=container)
    return Metric(kind, milli(target["averageValue"]), resource=name, container=container)


def _pods(source: Mapping[str, Any]) -> Metric | Unreadable:
    selector = source["metric"].get("selector") or {}
    if selector.get("matchExpressions"):
        return Unreadable(
            "FailedGetPodsMetric",
            f"metric {source['metric']['name']}: selector.matchExpressions is not carried out: use matchLabels",
        )
    labels = tuple(sorted((selector.get("matchLabels") or {}).items()))
    return Metric("Pods", milli(source["target"]["averageValue"]), series=Series(source["metric"]["name"], labels))


def milli(quantity: str | float) -> int:
    """Thousandths, rounded up as Kubernetes does. Raises ValueError."""
    return math.ceil(parse_quantity(quantity) * MILLI)
