"""Percentages on Istio: a predictor without a ready Pod gets nothing, and the others share what it should have had.

One that may rest keeps its share: what wakes it is counted at the gateway, and a share of 0 would let it sleep for ever.
Istio's weights know nothing of endpoints, so the controller writes them anew. The mesh of one machine looks for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.contract.keda import may_rest
from slipway.contract.names import predictor_service_name
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.meta import Object
from slipway.kube.pods import is_ready
from slipway.kube.selectors import selector_matches

WHOLE = 100


def ready_predictors(
    sdep: SeldonDeployment, owned: Mapping[tuple[str, str], Object], pods: Sequence[Object]
) -> dict[str, bool]:
    """Whether each predictor is to have its share: its Service has an endpoint, or leads to what may rest."""
    services = {
        predictor.name: owned.get(("Service", predictor_service_name(sdep.name, predictor)))
        for predictor in sdep.predictors
    }
    return {
        name: any(_is_endpoint(pod, service) for pod in pods) or _may_rest(service, owned)
        for name, service in services.items()
    }


def rests(deployment: str, owned: Mapping[tuple[str, str], Object]) -> bool:
    """Whether the Deployment of this name may go to no replicas: its share comes to it all the same, and wakes it."""
    scaled = owned.get(("ScaledObject", deployment))
    return ("Deployment", deployment) in owned and scaled is not None and may_rest(scaled["spec"])


def _may_rest(service: Mapping[str, Any] | None, owned: Mapping[tuple[str, str], Object]) -> bool:
    """A Deployment whose Pods ``service`` selects does."""
    return any(
        kind == "Deployment" and _selects(service, obj["spec"]["template"]) and rests(name, owned)
        for (kind, name), obj in owned.items()
    )


def _is_endpoint(pod: Mapping[str, Any], service: Mapping[str, Any] | None) -> bool:
    """A ready Pod that ``service`` selects and that is not about to go."""
    return _selects(service, pod) and is_ready(pod) and "deletionTimestamp" not in pod["metadata"]


def _selects(service: Mapping[str, Any] | None, pod: Mapping[str, Any]) -> bool:
    """``pod`` is a Pod or a template of one."""
    selector = (service or {}).get("spec", {}).get("selector")
    return bool(selector) and selector_matches({"matchLabels": selector}, pod["metadata"].get("labels") or {})


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
