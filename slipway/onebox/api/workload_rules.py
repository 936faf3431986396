"""Deployments, ReplicaSets and Jobs: what Kubernetes refuses of them (pkg/apis/apps/validation, pkg/apis/batch/validation)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.field_causes import NOT_BELOW_ZERO, forbidden, invalid, required, unsupported
from slipway.contract.pod_rules import lasting_causes
from slipway.kube.selectors import selector_matches
from slipway.onebox.api.columns import get
from slipway.onebox.api.meta_rules import check_annotations, check_labels
from slipway.onebox.api.rules import check_pod_spec

Object = dict[str, Any]
PERCENT = re.compile(r"[0-9]+%")
PERCENT_WORDS = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
MAX_DIGITS = 10
"""Of a percentage that are read: whatever has more is far above 100."""
STRATEGIES = ("Recreate", "RollingUpdate")
COMPLETION_MODES = ("NonIndexed", "Indexed")
JOB_NUMBERS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
    "ttlSecondsAfterFinished",
)


def check_deployment(new: Object, old: Object | None) -> Sequence[Cause]:
    """A template that its selector selects, and a rollout that can come to an end."""
    return [*check_replica_set(new, old), *_rollout(new["spec"])]


def check_replica_set(new: Object, old: Object | None) -> Sequence[Cause]:
    """Selector and template agree, the selector never changes, and the Pods are to stay."""
    selector = get(new, "spec.selector")
    labels = get(new, "spec.template.metadata.labels", {})
    causes = [*_not_negative(new["spec"], ("replicas", "minReadySeconds"))]
    if not selector:
        causes.append(required("spec.selector"))
    elif not selector_matches(selector, labels):
        shown = ", ".join(f'"{key}":"{labels[key]}"' for key in sorted(labels))
        message = f"Invalid value: map[string]string{{{shown}}}: `selector` does not match template `labels`"
        causes.append(Cause("spec.template.metadata.labels", message))
    causes += _template(new)
    causes += lasting_causes(get(new, "spec.template.spec", {}), "spec.template.spec")
    if old is not None and selector != get(old, "spec.selector"):
        causes.append(Cause("spec.selector", f"Invalid value: {_go_selector(selector or {})}: field is immutable"))
    return causes


def check_job(new: Object, old: Object | None) -> Sequence[Cause]:
    """No number below 0, Pods that end, and a template that never changes."""
    spec = new["spec"]
    causes = [*_not_negative(spec, JOB_NUMBERS), *_template(new)]
    policy = get(new, "spec.template.spec.restartPolicy", "")
    if policy not in ("OnFailure", "Never"):
        causes.append(unsupported("spec.template.spec.restartPolicy", policy, ("OnFailure", "Never")))
    mode = spec.get("completionMode") or "NonIndexed"
    if mode not in COMPLETION_MODES:
        causes.append(unsupported("spec.completionMode", mode, COMPLETION_MODES))
    elif mode == "Indexed" and spec.get("completions") is None:
        causes.append(required("spec.completions", "when completion mode is Indexed"))
    if old is not None and get(new, "spec.template") != get(old, "spec.template"):
        causes.append(Cause("spec.template", "Invalid value: the template: field is immutable"))
    return causes


def _template(obj: Object) -> Iterator[Cause]:
    """Its labels and annotations, whose paths Kubernetes writes without ``metadata``, and its Pods."""
    yield from check_labels(get(obj, "spec.template.metadata.labels", {}), "spec.template.labels")
    yield from check_annotations(get(obj, "spec.template.metadata.annotations", {}), "spec.template.annotations")
    yield from check_pod_spec(get(obj, "spec.template.spec", {}), "spec.template.spec")


def _not_negative(spec: Mapping[str, Any], names: Sequence[str]) -> Iterator[Cause]:
    for name in names:
        value = spec.get(name)
        if isinstance(value, int) and value < 0:
            yield invalid(f"spec.{name}", value, NOT_BELOW_ZERO)


def _rollout(spec: Mapping[str, Any]) -> Iterator[Cause]:
    yield from _not_negative(spec, ("revisionHistoryLimit", "progressDeadlineSeconds"))
    deadline_s = spec.get("progressDeadlineSeconds")
    if deadline_s is not None and deadline_s <= spec.get("minReadySeconds", 0):
        yield invalid("spec.progressDeadlineSeconds", deadline_s, "must be greater than minReadySeconds")
    strategy = spec.get("strategy") or {}
    kind, rolling = strategy.get("type") or "RollingUpdate", strategy.get("rollingUpdate")
    if kind not in STRATEGIES:
        yield unsupported("spec.strategy.type", kind, STRATEGIES)
    elif rolling is not None and kind == "Recreate":
        yield forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    elif rolling is not None:
        yield from _rolling(rolling, "spec.strategy.rollingUpdate")


def _rolling(rolling: Mapping[str, Any], path: str) -> Iterator[Cause]:
    given = {name: rolling.get(name, 0) for name in ("maxUnavailable", "maxSurge")}
    for name, value in given.items():
        if isinstance(value, str) and not PERCENT.fullmatch(value):
            yield invalid(f"{path}.{name}", value, PERCENT_WORDS)
        elif _number(value) < 0:
            yield invalid(f"{path}.{name}", value, NOT_BELOW_ZERO)
    unavailable = given["maxUnavailable"]
    if not any(_number(value) for value in given.values()):
        yield invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    if isinstance(unavailable, str) and _number(unavailable) > 100:
        yield invalid(f"{path}.maxUnavailable", unavailable, "must not be greater than 100%")


def _number(value: Any) -> int:
    """Of a number or of a percentage, whose digits may be many; 0 where it is neither."""
    if isinstance(value, str):
        digits = value.removesuffix("%").lstrip("0")[:MAX_DIGITS]
        return int(digits) if PERCENT.fullmatch(value) and digits else 0
    return int(value)


def _go_selector(selector: Mapping[str, Any]) -> str:
    labels = selector.get("matchLabels") or {}
    shown = ", ".join(f'"{key}":"{labels[key]}"' for key in sorted(labels))
    return f"v1.LabelSelector{{MatchLabels:map[string]string{{{shown}}}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}}"
