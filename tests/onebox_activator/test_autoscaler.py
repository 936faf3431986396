"""The HorizontalPodAutoscaler of a ScaledObject is the one that KEDA would make."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.onebox.activator.autoscaler import autoscaler_of, differs


def _scaled(*triggers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    meta = {"name": "yolo", "namespace": "default", "uid": "u"}
    return {"metadata": meta, "spec": {"scaleTargetRef": {"name": "yolo"}, "triggers": list(triggers), **spec}}


CPU = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (CPU, {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}),
        (
            {"type": "memory", "metricType": "AverageValue", "metadata": {"value": "200Mi"}},
            {"name": "memory", "target": {"type": "AverageValue", "averageValue": "200Mi"}},
        ),
        (
            {"type": "cpu", "metadata": {"type": "Utilization", "value": "50"}},  # the older form
            {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
        ),
    ],
)
def test_trigger_becomes_a_resource_metric(trigger: dict[str, Any], expected: dict[str, Any]) -> None:
    made = autoscaler_of(_scaled(trigger))
    assert made is not None
    assert made["spec"]["metrics"] == [{"type": "Resource", "resource": expected}]


def test_one_container_is_a_container_resource() -> None:
    made = autoscaler_of(_scaled({**CPU, "metadata": {"value": "80", "containerName": "model"}}))
    assert made is not None
    (metric,) = made["spec"]["metrics"]
    assert (metric["type"], metric["containerResource"]["container"]) == ("ContainerResource", "model")


@pytest.mark.parametrize(
    ("spec", "bounds"),
    [({}, (1, 100)), ({"minReplicaCount": 0, "maxReplicaCount": 3}, (1, 3)), ({"minReplicaCount": 2}, (2, 100))],
)
def test_bounds_are_those_of_keda(spec: dict[str, Any], bounds: tuple[int, int]) -> None:
    made = autoscaler_of(_scaled(CPU, **spec))
    assert made is not None
    assert (made["spec"]["minReplicas"], made["spec"]["maxReplicas"]) == bounds
    assert made["metadata"]["name"] == "keda-hpa-yolo"
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u"


def test_triggers_that_only_a_cluster_has_make_none() -> None:
    assert autoscaler_of(_scaled({"type": "prometheus", "metadata": {}}, {"type": "cron"})) is None


def test_defaults_of_the_api_are_no_difference() -> None:
    made = autoscaler_of(_scaled(CPU))
    assert made is not None
    assert not differs({"spec": {**made["spec"], "behavior": {}}}, made)
    assert differs({"spec": {**made["spec"], "maxReplicas": 7}}, made)
