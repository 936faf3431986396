"""What KEDA would refuse of a ``kedaSpec``: the types and minima of its ScaledObject, and its rules across fields.

Types: KEDA's CustomResourceDefinition ``scaledobjects.keda.sh`` v1alpha1. Rules: ``CheckReplicaCountBoundsAreValid`` of
its webhook, and ``parseResourceMetadata`` of its cpu and memory scalers. ``scaleTargetRef`` is no field here: it is the
componentSpec's own Deployment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from slipway.contract.causes import Cause, choice
from slipway.contract.keda import HERE, MAX_REPLICAS
from slipway.contract.sdep import Json, SeldonDeployment

Check = Callable[[Any, str], Iterator[Cause]]
"""Value and its path → what is wrong with it."""
MAX_WHOLE = 2**31 - 1
TARGETS = ("Utilization", "AverageValue")
PERCENT = re.compile(r"0*[1-9][0-9]{0,8}")
QUANTITY = re.compile(r"[+-]?([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?")


def keda_causes(sdep: SeldonDeployment) -> Iterator[Cause]:
    """Of every kedaSpec: first what has a wrong shape; the rules across fields where the shapes are right."""
    for index, predictor in enumerate(sdep.predictors):
        for number, component in enumerate(predictor.component_specs):
            if component.keda_spec is not None:
                path = f"spec.predictors[{index}].componentSpecs[{number}].kedaSpec"
                wrong = [*SPEC(component.keda_spec, path)]
                yield from wrong or [*_bounds(component.keda_spec, path), *_resources(component.keda_spec, path)]


def _whole(least: int | None = None) -> Check:
    def check(value: Any, path: str) -> Iterator[Cause]:
        low = -MAX_WHOLE - 1 if least is None else least
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= MAX_WHOLE:
            bound = "" if least is None else f" from {least}"
            yield Cause(path, f"{value!r:.60} is not a whole number{bound} of 32 bits")

    return check


def _text(value: Any, path: str) -> Iterator[Cause]:
    if not isinstance(value, str):
        yield Cause(path, f'{value!r:.60} is not a text: write it in quotes, such as "80"')


def _filled(value: Any, path: str) -> Iterator[Cause]:
    if not isinstance(value, str) or not value:
        yield Cause(path, f"{value!r:.60} is not a text of at least one character")


def _flag(value: Any, path: str) -> Iterator[Cause]:
    if not isinstance(value, bool):
        yield Cause(path, f"{value!r:.60} is not true or false")


def _amount(value: Any, path: str) -> Iterator[Cause]:
    is_text = isinstance(value, str) and QUANTITY.fullmatch(value)
    if isinstance(value, bool) or not (isinstance(value, int) or is_text):
        yield Cause(path, f'{value!r:.60} is neither a whole number nor a quantity in quotes, such as "0.1"')


def _word(*allowed: str) -> Check:
    def check(value: Any, path: str) -> Iterator[Cause]:
        if value not in allowed:
            yield Cause(path, choice(f"{value!s:.60}", allowed))

    return check


def _texts(value: Any, path: str) -> Iterator[Cause]:
    if not isinstance(value, Mapping):
        yield Cause(path, f"{value!r:.60} is not a map from texts to texts")
        return
    for key, item in value.items():
        yield from _text(item, f"{path}.{key}")


def _fields(*required: str, **checks: Check) -> Check:
    """An object of these fields and no others. ``null`` is absent, as the API reads it."""

    def check(value: Any, path: str) -> Iterator[Cause]:
        if not isinstance(value, Mapping):
            yield Cause(path, f"{value!r:.60} is not an object with {', '.join(checks)}")
            return
        for name in required:
            if value.get(name) is None:
                yield Cause(f"{path}.{name}", "is required")
        for name, item in value.items():
            if name not in checks:
                yield Cause(f"{path}.{name}", choice(f"{name!s:.60}", tuple(checks)))
            elif item is not None:
                yield from checks[name](item, f"{path}.{name}")

    return check


def _items(each: Check, least: int = 0) -> Check:
    def check(value: Any, path: str) -> Iterator[Cause]:
        if not isinstance(value, list | tuple) or len(value) < least:
            yield Cause(path, f"{value!r:.60} is not a list" + (f" of at least {least}" if least else ""))
            return
        for index, item in enumerate(value):
            yield from each(item, f"{path}[{index}]")

    return check


POLICY = _fields("type", "value", "periodSeconds", type=_text, value=_whole(), periodSeconds=_whole())
PACE = _fields(policies=_items(POLICY), selectPolicy=_text, stabilizationWindowSeconds=_whole(), tolerance=_amount)
ADVANCED = _fields(
    horizontalPodAutoscalerConfig=_fields(behavior=_fields(scaleDown=PACE, scaleUp=PACE), name=_text),
    restoreToOriginalReplicaCount=_flag,
    scalingModifiers=_fields(
        activationTarget=_text, formula=_text, metricType=_word("AverageValue", "Value"), target=_text
    ),
)
FALLBACK = _fields(
    "failureThreshold",
    "replicas",
    behavior=_word(
        "static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower", "scalingModifiers"
    ),
    failureThreshold=_whole(0),
    replicas=_whole(0),
)
TRIGGER = _fields(
    "type",
    "metadata",
    type=_filled,
    metadata=_texts,
    metricType=_text,
    name=_text,
    useCachedMetrics=_flag,
    authenticationRef=_fields("name", kind=_word("TriggerAuthentication", "ClusterTriggerAuthentication"), name=_text),
)
SPEC = _fields(
    "triggers",
    minReplicaCount=_whole(0),
    maxReplicaCount=_whole(1),
    idleReplicaCount=_whole(0),
    pollingInterval=_whole(1),
    cooldownPeriod=_whole(0),
    initialCooldownPeriod=_whole(0),
    triggers=_items(TRIGGER, least=1),
    advanced=ADVANCED,
    fallback=FALLBACK,
)


def _bounds(spec: Json, path: str) -> Iterator[Cause]:
    least, most, idle = spec.get("minReplicaCount") or 0, spec.get("maxReplicaCount"), spec.get("idleReplicaCount")
    if least > (most or MAX_REPLICAS):
        limit = f"maxReplicaCount {most}" if most else f"{MAX_REPLICAS}, which maxReplicaCount is where it is absent"
        yield Cause(f"{path}.minReplicaCount", f"{least} is above {limit}")
    if idle is not None and idle >= least:
        yield Cause(f"{path}.idleReplicaCount", f"{idle} is not below minReplicaCount {least}")


def _resources(spec: Json, path: str) -> Iterator[Cause]:
    """The targets of cpu and memory triggers; without a type it is Utilization."""
    for index, trigger in enumerate(spec["triggers"]):
        if trigger["type"] not in HERE:
            continue
        where, metadata = f"{path}.triggers[{index}]", trigger["metadata"]
        given = trigger.get("metricType")
        kind = given or metadata.get("type") or TARGETS[0]
        value = metadata.get("value")
        if kind not in TARGETS:
            yield Cause(f"{where}.metricType" if given else f"{where}.metadata.type", choice(f"{kind:.60}", TARGETS))
        elif value is None:
            yield Cause(f"{where}.metadata.value", "is required")
        elif kind == TARGETS[0] and not PERCENT.fullmatch(value):
            text = f'{value!r:.60} is not a percentage of what is requested: a whole number from 1, such as "80"'
            yield Cause(f"{where}.metadata.value", text)
        elif kind == TARGETS[1] and not _is_above_zero(value):
            yield Cause(f"{where}.metadata.value", f'{value!r:.60} is not a quantity above 0, such as "500m" or "2Gi"')


def _is_above_zero(text: str) -> bool:
    matched = QUANTITY.fullmatch(text)
    return matched is not None and not text.startswith("-") and matched[1].strip("0.") != ""
