"""Routers that learn from feedback (docs/graph-components.md) and keep it in the memory of each replica: taken, and told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.contract.causes import with_paths
from slipway.contract.graph import PredictiveUnit
from slipway.contract.keda import MAX_REPLICAS
from slipway.contract.sdep import ComponentSpec, PredictorSpec, SeldonDeployment
from slipway.contract.without_effect import readable

BRANCHES, STATE, IN_MEMORY = "n_branches", "state", "memory"
"""Parameters by which such a router is known, whatever its image is called."""


def learning_apart(obj: Mapping[str, Any]) -> list[str]:
    """One sentence, beginning with the node's path, for each whose replicas would learn alone; none of other kinds."""
    sdep = readable(obj)
    return [] if sdep is None else [*_told(sdep)]


def _told(sdep: SeldonDeployment) -> Iterator[str]:
    for index, predictor in enumerate(sdep.predictors):
        for node, path in with_paths(predictor.graph, f"spec.predictors[{index}].graph"):
            most = _most_replicas(node, predictor, sdep) if _learns_in_memory(node) else 1
            if most > 1:
                yield (
                    f"{path} learns alone in each of up to {most} replicas ({STATE}={IN_MEMORY}): say {STATE}=postgres, "
                    "which they share, or 1 replica and no autoscaler (docs/graph-components.md)"
                )


def _learns_in_memory(node: PredictiveUnit) -> bool:
    given = {parameter.name: parameter.value for parameter in node.parameters}
    return node.type == "ROUTER" and BRANCHES in given and given.get(STATE) == IN_MEMORY


def _most_replicas(node: PredictiveUnit, predictor: PredictorSpec, sdep: SeldonDeployment) -> int:
    """Of the Deployment that the node runs in (contract §1.4): the autoscaler's maximum, else the replicas that are declared."""
    for component in predictor.component_specs:
        if any(container["name"] == node.name for container in component.containers):
            return _most(component, predictor.replicas, sdep.replicas)
    return 1


def _most(component: ComponentSpec, *declared: int | None) -> int:
    if component.keda_spec is not None:
        return _whole(component.keda_spec.get("maxReplicaCount"), MAX_REPLICAS)
    if component.hpa_spec is not None:
        return _whole(component.hpa_spec.get("maxReplicas"), 1)
    return next((value for value in (component.replicas, *declared) if value is not None), 1)


def _whole(value: Any, default: int) -> int:
    """An autoscaler's spec is the API's to judge: a number that is none is not told here."""
    return value if isinstance(value, int) else default
