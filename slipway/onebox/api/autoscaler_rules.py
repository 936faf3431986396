"""HorizontalPodAutoscalers: Kubernetes' defaults, and what it refuses (pkg/apis/autoscaling/validation)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.field_causes import quote
from slipway.contract.quantity import parse_quantity
from slipway.onebox.api.columns import get

Object = dict[str, Any]
DEFAULT_METRICS = [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]  # fmt: skip
DEFAULT_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
DEFAULT_DOWN = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}
SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
MAX_WINDOW_S, MAX_PERIOD_S = 3600, 1800


def default_autoscaler(obj: Object) -> None:
    """80 % of the requested processor where no metric is named; the whole of a behaviour of which a part is."""
    spec = obj["spec"]
    if not spec.get("metrics"):
        spec["metrics"] = copy.deepcopy(DEFAULT_METRICS)
    if spec.get("behavior") is not None:
        for direction, rules in (("scaleUp", DEFAULT_UP), ("scaleDown", DEFAULT_DOWN)):
            given = spec["behavior"].get(direction) or {}
            kept = {key: value for key, value in given.items() if value is not None}
            spec["behavior"][direction] = {**copy.deepcopy(rules), **kept}


def check_autoscaler(new: Object, old: Object | None) -> Sequence[Cause]:
    del old
    spec = new["spec"]
    return [*_bounds(spec), *_reference(spec), *_metrics(spec), *_behavior(spec)]


def _bounds(spec: Mapping[str, Any]) -> Iterator[Cause]:
    most, least = spec.get("maxReplicas", 0), spec.get("minReplicas", 1)
    if least < 1:
        yield Cause("spec.minReplicas", f"Invalid value: {least}: must be greater than or equal to 1")
    if most < 1:
        yield Cause("spec.maxReplicas", f"Invalid value: {most}: must be greater than 0")
    elif most < least:
        yield Cause("spec.maxReplicas", f"Invalid value: {most}: must be greater than or equal to `minReplicas`")


def _reference(spec: Mapping[str, Any]) -> Iterator[Cause]:
    for field in ("kind", "name"):
        if not get(spec, f"scaleTargetRef.{field}"):
            yield Cause(f"spec.scaleTargetRef.{field}", "Required value", "FieldValueRequired")


def _metrics(spec: Mapping[str, Any]) -> Iterator[Cause]:
    for index, metric in enumerate(spec.get("metrics") or ()):
        path, kind = f"spec.metrics[{index}]", metric.get("type")
        if kind not in SOURCES:
            known = ", ".join(quote(name) for name in SOURCES)
            yield Cause(f"{path}.type", f"Unsupported value: {quote(kind)}: supported values: {known}", "FieldValueNotSupported")  # fmt: skip
            continue
        source = SOURCES[kind]
        if metric.get(source) is None:
            yield Cause(f"{path}.{source}", "Required value: must populate information for the given metric source", "FieldValueRequired")  # fmt: skip
            continue
        yield from _source(kind, metric[source], f"{path}.{source}")


def _source(kind: str, source: Mapping[str, Any], path: str) -> Iterator[Cause]:
    names = (
        ("name", "container") if kind == "ContainerResource" else ("name",) if kind == "Resource" else ("metric.name",)
    )
    for name in names:
        if not get(source, name):
            yield Cause(f"{path}.{name}", "Required value", "FieldValueRequired")
    target = source.get("target") or {}
    given = [key for key in ("averageUtilization", "averageValue", "value") if target.get(key) is not None]
    for key in given:
        if not _is_positive(target[key]):
            yield Cause(f"{path}.target.{key}", f"Invalid value: {target[key]}: must be positive")
    wanted, words = {
        "Resource": ({"averageUtilization", "averageValue"}, "must set either a target raw value or a target utilization"),
        "ContainerResource": (
            {"averageUtilization", "averageValue"},
            "must set either a target raw value or a target utilization",
        ),
        "Pods": ({"averageValue"}, "must specify a positive target averageValue"),
    }.get(kind, ({"value", "averageValue"}, "must set either a target value or averageValue"))  # fmt: skip
    if len(wanted & set(given)) != 1:
        yield Cause(f"{path}.target", f"Required value: {words}", "FieldValueRequired")


def _is_positive(value: Any) -> bool:
    try:
        return parse_quantity(value) > 0
    except ValueError:
        return False  # the schema says what is wrong with it


def _behavior(spec: Mapping[str, Any]) -> Iterator[Cause]:
    for direction in ("scaleUp", "scaleDown"):
        rules = get(spec, f"behavior.{direction}")
        if rules is not None:
            yield from _rules(rules, f"spec.behavior.{direction}")


def _rules(rules: Mapping[str, Any], path: str) -> Iterator[Cause]:
    window_s = rules.get("stabilizationWindowSeconds", 0)
    if not 0 <= window_s <= MAX_WINDOW_S:
        words = "greater than or equal to zero" if window_s < 0 else f"less than or equal to {MAX_WINDOW_S}"
        yield Cause(f"{path}.stabilizationWindowSeconds", f"Invalid value: {window_s}: must be {words}")
    yield from _choice(rules.get("selectPolicy"), ("Disabled", "Max", "Min"), f"{path}.selectPolicy")
    if rules.get("tolerance") is not None and not _is_share(rules["tolerance"]):
        yield Cause(f"{path}.tolerance", f"Invalid value: {quote(str(rules['tolerance']))}: must be between 0 and 1")
    if not rules.get("policies"):
        yield Cause(f"{path}.policies", "Required value: must specify at least one Policy", "FieldValueRequired")
    for index, policy in enumerate(rules.get("policies") or ()):
        at, period_s = f"{path}.policies[{index}]", policy.get("periodSeconds", 0)
        yield from _choice(policy.get("type"), ("Percent", "Pods"), f"{at}.type")
        if policy.get("value", 0) <= 0:
            yield Cause(f"{at}.value", f"Invalid value: {policy.get('value', 0)}: must be greater than zero")
        if not 0 < period_s <= MAX_PERIOD_S:
            words = "greater than zero" if period_s <= 0 else f"less than or equal to {MAX_PERIOD_S}"
            yield Cause(f"{at}.periodSeconds", f"Invalid value: {period_s}: must be {words}")


def _is_share(value: Any) -> bool:
    try:
        return 0 <= parse_quantity(value) <= 1
    except ValueError:
        return False  # the schema says what is wrong with it


def _choice(value: Any, known: Sequence[str], path: str) -> Iterator[Cause]:
    if value not in known:
        shown = ", ".join(quote(name) for name in known)
        yield Cause(path, f"Unsupported value: {quote(str(value or ''))}: supported values: {shown}", "FieldValueNotSupported")  # fmt: skip
