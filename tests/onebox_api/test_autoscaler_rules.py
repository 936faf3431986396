"""HorizontalPodAutoscalers as the API defaults, refuses and prints them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.api.autoscaler_columns import HPA
from slipway.onebox.api.autoscaler_rules import check_autoscaler, default_autoscaler
from slipway.onebox.runner.hpa_spec import parse_autoscaler

CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}
PODS = {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "50m"}}}


def autoscaler(**spec: Any) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    return {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3, **spec}}


def test_without_a_metric_it_is_80_percent_of_the_processor():
    obj = autoscaler()
    default_autoscaler(obj)
    assert obj["spec"]["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 80}
    assert "behavior" not in obj["spec"]


def test_the_rest_of_a_behaviour_is_filled_in():
    obj = autoscaler(behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    default_autoscaler(obj)
    behavior = obj["spec"]["behavior"]
    assert behavior["scaleDown"]["policies"] == [{"type": "Percent", "value": 100, "periodSeconds": 15}]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 0
    assert [policy["value"] for policy in behavior["scaleUp"]["policies"]] == [4, 100]


def resource(**target: Any) -> list[dict[str, Any]]:
    return [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def up(**rules: Any) -> dict[str, Any]:
    return {"scaleUp": {"selectPolicy": "Max", "policies": [{"type": "Pods", "value": 1, "periodSeconds": 1}], **rules}}


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"minReplicas": 0}, "spec.minReplicas", "greater than or equal to 1"),
        ({"maxReplicas": 0}, "spec.maxReplicas", "must be greater than 0"),
        ({"minReplicas": 4}, "spec.maxReplicas", "greater than or equal to `minReplicas`"),
        ({"scaleTargetRef": {"kind": "Deployment"}}, "spec.scaleTargetRef.name", "Required value"),
        ({"metrics": [{"type": "Gpu"}]}, "spec.metrics[0].type", 'Unsupported value: "Gpu"'),
        ({"metrics": [{"type": "Pods"}]}, "spec.metrics[0].pods", "must populate information"),
        ({"metrics": resource()}, "spec.metrics[0].resource.target", "a target raw value or a target utilization"),
        ({"metrics": resource(averageUtilization=0)}, "spec.metrics[0].resource.target.averageUtilization", "positive"),
        ({"metrics": resource(averageUtilization=5, averageValue="1")}, "spec.metrics[0].resource.target", "either"),
        ({"metrics": [{"type": "Pods", "pods": {"metric": {}, "target": {"averageValue": "1"}}}]}, "spec.metrics[0].pods.metric.name", "Required"),
        ({"behavior": up(stabilizationWindowSeconds=3601)}, "spec.behavior.scaleUp.stabilizationWindowSeconds", "3600"),
        ({"behavior": up(selectPolicy="Most")}, "spec.behavior.scaleUp.selectPolicy", '"Disabled", "Max", "Min"'),
        ({"behavior": up(policies=[])}, "spec.behavior.scaleUp.policies", "at least one Policy"),
        ({"behavior": up(policies=[{"type": "Pods", "value": 0, "periodSeconds": 1}])}, "spec.behavior.scaleUp.policies[0].value", "greater than zero"),
        ({"behavior": up(policies=[{"type": "Pods", "value": 1, "periodSeconds": 1801}])}, "spec.behavior.scaleUp.policies[0].periodSeconds", "1800"),
        ({"behavior": up(tolerance="2")}, "spec.behavior.scaleUp.tolerance", "between 0 and 1"),
    ],
)  # fmt: skip
def test_what_kubernetes_refuses_is_refused_in_its_words(spec: dict[str, Any], field: str, message: str):
    (cause,) = check_autoscaler(autoscaler(**spec), None)
    assert cause.field == field
    assert message in cause.message


@pytest.mark.parametrize("spec", [{}, {"metrics": [CPU, PODS]}, {"behavior": {}}, {"behavior": {"scaleUp": None}}])
def test_what_is_accepted_can_be_carried_out(spec: dict[str, Any]):
    obj = autoscaler(**spec)
    default_autoscaler(obj)
    assert not check_autoscaler(obj, None)
    assert parse_autoscaler(obj).metrics


numbers = st.none() | st.integers(-5, 5000)
policies = st.fixed_dictionaries({"type": st.sampled_from(["Pods", "Percent", "x"]), "value": numbers, "periodSeconds": numbers})  # fmt: skip
rules = st.fixed_dictionaries({}, optional={"stabilizationWindowSeconds": numbers, "policies": st.lists(policies, max_size=2)})  # fmt: skip
targets = st.fixed_dictionaries({}, optional={"averageUtilization": st.integers(-1, 200), "averageValue": st.sampled_from(["1", "-1", "0", "5m"])})  # fmt: skip


@given(st.lists(targets, max_size=3), st.fixed_dictionaries({}, optional={"scaleUp": rules, "scaleDown": rules}))
def test_nothing_that_is_accepted_stops_the_autoscaler(wanted: list[dict[str, Any]], behavior: dict[str, Any]):
    """``null`` numbers are the schema's to remove: they do not get here."""
    clean = {
        direction: {
            key: [{k: v for k, v in policy.items() if v is not None} for policy in value]
            if key == "policies"
            else value
            for key, value in given.items()
            if value is not None
        }
        for direction, given in behavior.items()
    }
    obj = autoscaler(metrics=[resource(**target)[0] for target in wanted], behavior=clean)
    default_autoscaler(obj)
    if not check_autoscaler(obj, None):
        spec = parse_autoscaler(obj)
        assert spec.metrics
        assert all(policy.period_s > 0 for found in (spec.up, spec.down) for policy in found.policies)


def test_targets_are_printed_as_kubectl_does():
    cells = {column.name: column.cell for column in HPA}
    current = {"type": "Pods", "pods": {"metric": {"name": "q"}, "current": {"averageValue": "12m"}}}
    obj = autoscaler(metrics=[CPU, PODS, CPU])
    obj["status"] = {"currentMetrics": [{"type": ""}, current], "currentReplicas": 2}
    assert cells["Targets"](obj) == "cpu: <unknown>/60%, 12m/50m + 1 more..."
    assert cells["Reference"](obj) == "Deployment/d"
