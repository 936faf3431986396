"""What Kubernetes refuses of a PodDisruptionBudget's spec: of an object of its own, and of a componentSpec's ``pdbSpec``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.field_causes import NOT_BELOW_ZERO, invalid, unsupported
from slipway.contract.sdep import SeldonDeployment

BOUNDS = ("minAvailable", "maxUnavailable")
PERCENT = re.compile(r"(100|[0-9]{1,2})%")
POLICIES = ("AlwaysAllow", "IfHealthyBudget")


def pdb_causes(sdep: SeldonDeployment) -> Iterator[Cause]:
    """Of every pdbSpec: what is taken and makes no budget would let every Pod be evicted at once."""
    for index, predictor in enumerate(sdep.predictors):
        for number, component in enumerate(predictor.component_specs):
            yield from budget_causes(
                component.pdb_spec or {}, f"spec.predictors[{index}].componentSpecs[{number}].pdbSpec"
            )


def budget_causes(spec: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """One of the two bounds, a number from 0 or percent up to 100."""
    if all(spec.get(name) is not None for name in BOUNDS):
        yield Cause(path, "Invalid value: minAvailable and maxUnavailable cannot be both set")
    for name in BOUNDS:
        if (value := spec.get(name)) is not None:
            yield from _bound(value, f"{path}.{name}")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in POLICIES:
        yield unsupported(f"{path}.unhealthyPodEvictionPolicy", str(policy), POLICIES)


def _bound(value: Any, path: str) -> Iterator[Cause]:
    if isinstance(value, bool) or not isinstance(value, int | str):
        yield invalid(path, value, "a whole number or a percentage such as 50% is expected")
    elif isinstance(value, int) and value < 0:
        yield invalid(path, value, NOT_BELOW_ZERO)
    elif isinstance(value, str) and not PERCENT.fullmatch(value):
        words = "a valid percent string must be a numeric string followed by an ending '%', 100% at most"
        yield invalid(path, value, words)
