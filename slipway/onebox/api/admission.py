"""Reviews of single kinds after their schema: SeldonDeployments by the contract's rules, Istio's by Istio's; and what is kept without effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.contract.admission import review
from slipway.contract.causes import Cause
from slipway.contract.keda import without_effect_here
from slipway.contract.learning import learning_apart
from slipway.contract.predictor_servers import SHIPPED, cluster_only
from slipway.contract.sdep import SeldonDeployment
from slipway.contract.without_effect import without_effect
from slipway.onebox.api import istio_rules
from slipway.onebox.api.checks import Review

SELDON_DEPLOYMENTS = "seldondeployments.machinelearning.seldon.io"


def review_seldon_deployment(obj: Mapping[str, Any]) -> list[Cause]:
    """The contract's violations and what one machine cannot serve, all together."""
    return review(obj, predictor_servers=SHIPPED) or [*cluster_only(SeldonDeployment.from_json(obj))]


def reviews() -> dict[str, Review]:
    """By storage name."""
    return {SELDON_DEPLOYMENTS: review_seldon_deployment, **istio_rules.reviews()}


CLUSTER_ONLY = {
    ("networking.istio.io", "ServiceEntry"): "it has no effect on this machine: processes reach other hosts directly",
}
"""Kinds that are kept here for a cluster's sake, and what whoever writes one is told."""


def warnings(obj: Mapping[str, Any]) -> list[str]:
    """What an object that is taken does not do here, or not as one would think, a sentence each."""
    told = CLUSTER_ONLY.get((str(obj.get("apiVersion", "")).partition("/")[0], str(obj.get("kind", ""))))
    return [*without_effect(obj), *learning_apart(obj), *_of_keda(obj), *([f"{obj['kind']}: {told}"] if told else [])]


def _of_keda(obj: Mapping[str, Any]) -> Iterator[str]:
    """Of kedaSpecs that could be read, and of a ScaledObject that somebody wrote."""
    spec = obj.get("spec") or {}
    for index, predictor in enumerate(spec.get("predictors") or () if obj.get("kind") == "SeldonDeployment" else ()):
        for number, component in enumerate(predictor.get("componentSpecs") or ()):
            path = f"spec.predictors[{index}].componentSpecs[{number}].kedaSpec"
            for name, reason in without_effect_here(component.get("kedaSpec") or {}):
                yield f"{path}.{name} has no effect on this machine: {reason}"
    if obj.get("kind") == "ScaledObject":
        for name, reason in without_effect_here(spec):
            yield f"spec.{name} has no effect on this machine: {reason}"
