"""The ``hpaSpec`` of a componentSpec: both forms of its metrics, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.contract.admission import review
from slipway.contract.hpa import autoscaler_spec, converted
from slipway.onebox.api.autoscaler_rules import check_autoscaler, default_autoscaler
from slipway.onebox.runner.hpa_spec import parse_autoscaler
from tests.contract.manifests import component, predictor, sdep


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            {"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 70}},
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
        ),
        (
            {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "targetAverageValue": "1"}},
            {
                "type": "ContainerResource",
                "containerResource": {
                    "name": "cpu",
                    "container": "c",
                    "target": {"type": "AverageValue", "averageValue": "1"},
                },
            },
        ),
        (
            {"type": "Pods", "pods": {"metricName": "q", "selector": {"matchLabels": {"a": "b"}}, "targetAverageValue": "5"}},
            {
                "type": "Pods",
                "pods": {
                    "metric": {"name": "q", "selector": {"matchLabels": {"a": "b"}}},
                    "target": {"type": "AverageValue", "averageValue": "5"},
                },
            },
        ),
        (
            {"type": "Object", "object": {"target": {"kind": "Ingress", "name": "i"}, "metricName": "q", "targetValue": "5"}},
            {
                "type": "Object",
                "object": {
                    "describedObject": {"kind": "Ingress", "name": "i"},
                    "metric": {"name": "q"},
                    "target": {"type": "Value", "value": "5"},
                },
            },
        ),
        (
            {"type": "External", "external": {"metricName": "q", "metricSelector": {"matchLabels": {"a": "b"}}, "targetValue": "5"}},
            {
                "type": "External",
                "external": {
                    "metric": {"name": "q", "selector": {"matchLabels": {"a": "b"}}},
                    "target": {"type": "Value", "value": "5"},
                },
            },
        ),
    ],
)  # fmt: skip
def test_v2beta1_becomes_v2_and_v2_stays(old: dict[str, Any], new: dict[str, Any]):
    assert converted(old) == converted(new) == new
    made = {"spec": autoscaler_spec({"maxReplicas": 3, "metrics": [old]}, "d"), "metadata": {"name": "h"}}
    default_autoscaler(made)
    assert not check_autoscaler(made, None)
    assert parse_autoscaler(made).metrics


def test_behaviour_goes_along_and_what_is_not_given_is_left_to_the_api():
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 5}}
    assert autoscaler_spec({"maxReplicas": 3, "behavior": behavior}, "d")["behavior"] == behavior
    assert autoscaler_spec({"maxReplicas": 3}, "d").keys() == {"scaleTargetRef", "maxReplicas"}


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"maxReplica": 3}, "maxReplica", "is not one of minReplicas, maxReplicas"),
        ({"metrics": "cpu"}, "metrics", "a list of metrics"),
        ({"metrics": ["cpu"]}, "metrics[0]", "a metric with its type"),
        ({"metricsv2": [{"type": "Gpu"}]}, "metricsv2[0].type", "'Gpu' is not one of Resource"),
        ({"metrics": [{"type": "Pods", "resource": {}}]}, "metrics[0].pods", "type Pods needs it"),
        ({"metrics": [{"type": "Pods", "pods": "x"}]}, "metrics[0].pods", "type Pods needs it"),
        ({"behavior": ["up"]}, "behavior", "scaleUp and scaleDown"),
    ],
)
def test_what_makes_no_autoscaler_is_refused_with_its_place(spec: dict[str, Any], field: str, message: str):
    whole = sdep(predictor(componentSpecs=[component("clf", hpaSpec={"maxReplicas": 3, **spec})]))
    (cause,) = review(whole)
    assert cause.field == f"spec.predictors[0].componentSpecs[0].hpaSpec.{field}"
    assert message in cause.message
