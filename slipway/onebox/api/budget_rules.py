"""PodDisruptionBudgets: what Kubernetes refuses of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.field_causes import quote

Object = dict[str, Any]
PERCENT = re.compile(r"(100|[0-9]{1,2})%")
POLICIES = ("AlwaysAllow", "IfHealthyBudget")


def check_budget(new: Object, old: Object | None) -> Sequence[Cause]:
    """One of the two bounds, a number from 0 or percent up to 100."""
    del old
    return list(_causes(new["spec"]))


def _causes(spec: Object) -> Iterator[Cause]:
    bounds = ("minAvailable", "maxUnavailable")
    if all(spec.get(name) is not None for name in bounds):
        yield Cause("spec", "Invalid value: minAvailable and maxUnavailable cannot be both set")
    for name in bounds:
        value = spec.get(name)
        if isinstance(value, int) and value < 0:
            yield Cause(f"spec.{name}", f"Invalid value: {value}: must be greater than or equal to 0")
        if isinstance(value, str) and not PERCENT.fullmatch(value):
            words = "a valid percent string must be a numeric string followed by an ending '%', 100% at most"
            yield Cause(f"spec.{name}", f"Invalid value: {quote(value)}: {words}")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in POLICIES:
        known = ", ".join(quote(name) for name in POLICIES)
        message = f"Unsupported value: {quote(str(policy))}: supported values: {known}"
        yield Cause("spec.unhealthyPodEvictionPolicy", message, "FieldValueNotSupported")
