"""Routers whose replicas would learn alone are named, with what is right; and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.contract.admission import review
from slipway.contract.learning import learning_apart
from tests.contract.manifests import Manifest, component, node, predictor, sdep

HPA = {"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}]}
KEDA = {"triggers": [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "50"}}]}


def router(state: str = "memory", **fields: Any) -> Manifest:
    parameters = [
        {"name": "n_branches", "value": "2", "type": "INT"},
        {"name": "state", "value": state, "type": "STRING"},
    ]
    return node("router", **{"type": "ROUTER", "parameters": parameters, "children": [node("a"), node("b")], **fields})


def of_component(**fields: Any) -> Manifest:
    """The router runs in the second Deployment."""
    return predictor(graph=router(), componentSpecs=[component("a", "b"), component("router", **fields)])


@pytest.mark.parametrize(
    ("manifest", "most"),
    [
        (sdep(predictor(graph=router(), replicas=3)), 3),
        (sdep(predictor(graph=router()), replicas=2), 2),
        (sdep(of_component(replicas=2)), 2),
        (sdep(of_component(hpaSpec={"minReplicas": 1, "maxReplicas": 5, **HPA})), 5),
        (sdep(of_component(kedaSpec={"minReplicaCount": 1, "maxReplicaCount": 4, **KEDA})), 4),
        (sdep(of_component(kedaSpec=KEDA)), 100),
    ],
    ids=["predictor", "spec", "component", "hpa", "keda", "keda's default"],
)
def test_router_whose_replicas_learn_alone_is_taken_and_told(manifest: Manifest, most: int) -> None:
    assert review(manifest) == []
    (told,) = learning_apart(manifest)
    assert told.startswith(f"spec.predictors[0].graph learns alone in each of up to {most} replicas (state=memory): ")
    assert "say state=postgres, which they share, or 1 replica and no autoscaler" in told


@pytest.mark.parametrize(
    "manifest",
    [
        sdep(predictor(graph=router())),
        sdep(predictor(graph=router("postgres"), replicas=3)),
        sdep(predictor(graph=router(), replicas=1), replicas=3),
        sdep(of_component(replicas=1), replicas=3),
        sdep(of_component(hpaSpec={"maxReplicas": 1, **HPA}), replicas=3),
        sdep(of_component(kedaSpec={"maxReplicaCount": 1, **KEDA}), replicas=3),
        sdep(
            predictor(graph=router(), componentSpecs=[component("a", "b", replicas=9), component("router")]),
        ),
        sdep(predictor(graph=router(type="TRANSFORMER", children=[node("a")]), replicas=3)),
        sdep(predictor(graph=router(parameters=[{"name": "state", "value": "memory", "type": "STRING"}]), replicas=3)),
        {**sdep(predictor(graph=router(), replicas=3)), "kind": "Deployment"},
        {**sdep(), "spec": {"predictors": 5}},
    ],
)
def test_what_learns_together_or_not_at_all_is_not_told(manifest: Manifest) -> None:
    assert learning_apart(manifest) == []


def test_router_below_another_node_is_named_by_its_place() -> None:
    graph = node("first", type="TRANSFORMER", children=[router()])
    (told,) = learning_apart(sdep(predictor("canary"), predictor(graph=graph, replicas=2)))
    assert told.startswith("spec.predictors[1].graph[0] learns alone")
