"""The ``hpaSpec`` of a componentSpec (contract section 1.4): both forms of its metrics, and what could make no autoscaler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.contract.causes import Cause, choice
from slipway.contract.sdep import Json, SeldonDeployment

FIELDS = ("minReplicas", "maxReplicas", "metrics", "metricsv2", "behavior")
"""``behavior`` is ours beside Seldon's four: windows and policies, as autoscaling/v2 has them."""
SOURCES = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}
TARGETS = (
    ("targetAverageUtilization", "averageUtilization", "Utilization"),
    ("targetAverageValue", "averageValue", "AverageValue"),
    ("averageValue", "averageValue", "AverageValue"),
    ("targetValue", "value", "Value"),
)
"""autoscaling/v2beta1's field, v2's field, v2's type of target."""


def autoscaler_spec(spec: Json, deployment: str) -> dict[str, Any]:
    """The spec of an autoscaling/v2 HorizontalPodAutoscaler of that Deployment; ``metrics`` before ``metricsv2``."""
    old, new = spec.get("metrics") or (), spec.get("metricsv2") or ()
    metrics = [converted(item) for item in old] if old else list(new)
    body: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
        "maxReplicas": spec["maxReplicas"],
    }
    given = {"metrics": metrics, "minReplicas": spec.get("minReplicas"), "behavior": spec.get("behavior")}
    return body | {key: value for key, value in given.items() if value not in (None, [])}


def converted(metric: Mapping[str, Any]) -> dict[str, Any]:
    """autoscaling/v2beta1 → v2: the flat fields become ``metric`` and ``target``; what is v2 already stays."""
    kind = str(metric["type"])
    source = dict(metric[SOURCES[kind]])
    if kind == "Object" and "metricName" in source:
        source["describedObject"] = source.pop("target", {})
    target = {}
    for old, new, label in TARGETS:
        if old in source:
            target = {"type": label, new: source.pop(old)}
    if "metricName" in source:
        selector = source.pop("metricSelector", None) or source.pop("selector", None)
        source["metric"] = {"name": source.pop("metricName"), **({"selector": selector} if selector else {})}
    return {"type": kind, SOURCES[kind]: {**source, **({"target": target} if target else {})}}


def hpa_causes(sdep: SeldonDeployment) -> Iterator[Cause]:
    """What no autoscaler can be made of; numbers and targets are checked with the autoscaler itself."""
    for index, predictor in enumerate(sdep.predictors):
        for number, component in enumerate(predictor.component_specs):
            if component.hpa_spec is not None:
                yield from _spec(component.hpa_spec, f"spec.predictors[{index}].componentSpecs[{number}].hpaSpec")


def _spec(spec: Json, path: str) -> Iterator[Cause]:
    for name in spec:
        if name not in FIELDS:
            yield Cause(f"{path}.{name}", choice(str(name), FIELDS))
    for name in ("metrics", "metricsv2"):
        metrics = () if spec.get(name) is None else spec[name]
        if not isinstance(metrics, list | tuple):
            yield Cause(f"{path}.{name}", "a list of metrics is expected")
            continue
        for index, metric in enumerate(metrics):
            yield from _metric(metric, f"{path}.{name}[{index}]")
    if not isinstance(spec.get("behavior") or {}, Mapping):
        yield Cause(f"{path}.behavior", "scaleUp and scaleDown are expected")


def _metric(metric: Any, path: str) -> Iterator[Cause]:
    if not isinstance(metric, Mapping):
        yield Cause(path, "a metric with its type is expected")
    elif str(metric.get("type")) not in SOURCES:
        yield Cause(f"{path}.type", choice(str(metric.get("type")), list(SOURCES)))
    elif not isinstance(metric.get(source := SOURCES[str(metric["type"])]), Mapping):
        yield Cause(f"{path}.{source}", f"type {metric['type']} needs it")
