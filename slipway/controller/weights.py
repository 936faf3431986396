"""Percentages on Istio: a predictor without a ready Pod gets nothing, and the others share what it should have had.

Istio's weights know nothing of endpoints, so the controller writes them anew. The mesh of one machine looks for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.contract.names import predictor_service_name
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.meta import Object
from slipway.kube.pods import is_ready
from slipway.kube.selectors import selector_matches

WHOLE = 100


def ready_predictors(
    sdep: SeldonDeployment, owned: Mapping[tuple[str, str], Object], pods: Sequence[Object]
) -> dict[str, bool]:
    """Whether each predictor's Service has an endpoint: a ready Pod that it selects and that is not about to go."""
    return {
        predictor.name: any(
            _is_endpoint(pod, owned.get(("Service", predictor_service_name(sdep.name, predictor)))) for pod in pods
        )
        for predictor in sdep.predictors
    }


def _is_endpoint(pod: Mapping[str, Any], service: Mapping[str, Any] | None) -> bool:
    selector = (service or {}).get("spec", {}).get("selector")
    labels = pod["metadata"].get("labels") or {}
    is_selected = bool(selector) and selector_matches({"matchLabels": selector}, labels)
    return is_selected and is_ready(pod) and "deletionTimestamp" not in pod["metadata"]


def weights(declared: Mapping[str, int], ready: Mapping[str, bool]) -> dict[str, int]:
    """What each predictor gets: whole percent, 100 together, nothing for an unready one or one that is to have nothing.

    Remainders go to the largest fractions, then to the first. Where none is ready the declared numbers stand: whatever
    comes is answered 503, and whoever is ready first gets its share at once.
    """
    shares = {name: share if ready.get(name) else 0 for name, share in declared.items()}
    total = sum(shares.values())
    if total == 0:
        return dict(declared)
    exact = {name: (WHOLE * share // total, WHOLE * share % total) for name, share in shares.items()}
    missing = WHOLE - sum(whole for whole, _ in exact.values())
    first = sorted(exact, key=lambda name: -exact[name][1])[:missing]  # sorted is stable: of equals the first
    return {name: whole + (name in first) for name, (whole, _) in exact.items()}
