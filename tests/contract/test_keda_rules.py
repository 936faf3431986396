"""What KEDA would refuse of a kedaSpec is refused before it, with the path and what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.contract.admission import review
from slipway.contract.keda_rules import SPEC
from tests.contract.manifests import component, predictor, sdep
from tests.manifests.schemas import complain_of_definition

PATH = "spec.predictors[0].componentSpecs[0].kedaSpec"
CPU = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}
CRON = {"type": "cron", "metadata": {"desiredReplicas": "2"}}
POLICY = {"type": "Pods", "value": 1, "periodSeconds": 60}
Object = dict[str, Any]


def advanced(**pace: Any) -> Object:
    return {"advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": pace}}}}


SHAPES: list[tuple[Object, str, str]] = [
    ({"cooldownPeriod": "soon"}, "cooldownPeriod", "'soon' is not a whole number from 0"),
    ({"cooldownPeriod": -3}, "cooldownPeriod", "-3 is not a whole number from 0"),
    ({"initialCooldownPeriod": -1}, "initialCooldownPeriod", "from 0"),
    ({"cooldownPeriodd": 9}, "cooldownPeriodd", "'cooldownPeriodd' is not one of minReplicaCount, "),
    ({"pollingInterval": 0}, "pollingInterval", "from 1"),
    ({"minReplicaCount": True}, "minReplicaCount", "True is not a whole number"),
    ({"minReplicaCount": -1}, "minReplicaCount", "from 0"),
    ({"maxReplicaCount": 0}, "maxReplicaCount", "from 1"),
    ({"maxReplicaCount": 2**31}, "maxReplicaCount", "of 32 bits"),
    ({"maxReplicaCount": 1.5}, "maxReplicaCount", "1.5 is not a whole number"),
    ({"idleReplicaCount": "0"}, "idleReplicaCount", "'0' is not a whole number"),
    ({"triggers": []}, "triggers", "[] is not a list of at least 1"),
    ({"triggers": [{"type": "cron"}]}, "triggers[0].metadata", "is required"),
    ({"triggers": [{"type": "", "metadata": {}}]}, "triggers[0].type", "at least one character"),
    ({"triggers": [CPU, {**CRON, "kind": "x"}]}, "triggers[1].kind", "'kind' is not one of type, metadata, "),
    ({"triggers": [{**CPU, "metadata": {"value": 80}}]}, "triggers[0].metadata.value", "80 is not a text: "),
    ({"triggers": [{**CPU, "useCachedMetrics": "yes"}]}, "triggers[0].useCachedMetrics", "true or false"),
    (
        {"triggers": [{**CRON, "authenticationRef": {"name": "a", "kind": "Secret"}}]},
        "triggers[0].authenticationRef.kind",
        "'Secret' is not one of TriggerAuthentication, ",
    ),
    ({"fallback": {"replicas": 1}}, "fallback.failureThreshold", "is required"),
    ({"fallback": {"replicas": 1, "failureThreshold": -1}}, "fallback.failureThreshold", "from 0"),
    ({"fallback": {"replicas": 1, "failureThreshold": 1, "behavior": "x"}}, "fallback.behavior", "one of static, "),
    ({"advanced": []}, "advanced", "[] is not an object with horizontalPodAutoscalerConfig, "),
    (
        {"advanced": {"scalingModifiers": {"metricType": "Utilization"}}},
        "advanced.scalingModifiers.metricType",
        "'Utilization' is not one of AverageValue, Value",
    ),
    (
        advanced(policies=[{**POLICY, "value": "1"}]),
        "advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.policies[0].value",
        "'1' is not a whole number of 32 bits",
    ),
    (
        advanced(tolerance="a little"),
        "advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.tolerance",
        'such as "0.1"',
    ),
]
ACROSS: list[tuple[Object, str, str]] = [
    ({"minReplicaCount": 5, "maxReplicaCount": 3}, "minReplicaCount", "5 is above maxReplicaCount 3"),
    ({"minReplicaCount": 101}, "minReplicaCount", "101 is above 100, which maxReplicaCount is where it is absent"),
    ({"idleReplicaCount": 0}, "idleReplicaCount", "0 is not below minReplicaCount 0"),
    ({"triggers": [{**CPU, "metadata": {"value": "abc"}}]}, "triggers[0].metadata.value", "'abc' is not a percentage"),
    ({"triggers": [{**CPU, "metadata": {"value": "0"}}]}, "triggers[0].metadata.value", "a whole number from 1"),
    ({"triggers": [CRON, {**CPU, "metadata": {}}]}, "triggers[1].metadata.value", "is required"),
    ({"triggers": [{**CPU, "metricType": "Value"}]}, "triggers[0].metricType", "not one of Utilization, AverageValue"),
    (
        {"triggers": [{"type": "memory", "metadata": {"type": "much", "value": "1"}}]},
        "triggers[0].metadata.type",
        "'much' is not one of Utilization, AverageValue",
    ),
    (
        {"triggers": [{"type": "memory", "metricType": "AverageValue", "metadata": {"value": "2 GB"}}]},
        "triggers[0].metadata.value",
        "'2 GB' is not a quantity above 0",
    ),
    (
        {"triggers": [{"type": "memory", "metricType": "AverageValue", "metadata": {"value": "0.0Gi"}}]},
        "triggers[0].metadata.value",
        "'0.0Gi' is not a quantity above 0",
    ),
]
RIGHT: list[Object] = [
    {},
    {"minReplicaCount": 0, "maxReplicaCount": 3, "cooldownPeriod": 300},
    {"minReplicaCount": 100, "idleReplicaCount": 0, "pollingInterval": 1, "initialCooldownPeriod": 0},
    {"triggers": [{"type": "cpu", "metadata": {"type": "AverageValue", "value": "500m"}}, CRON]},
    {"triggers": [{"type": "memory", "metadata": {"value": "60", "containerName": "clf"}}]},
    {"triggers": [{**CRON, "name": "day", "metricType": "Value", "authenticationRef": {"name": "a"}}]},
    {"fallback": {"replicas": 2, "failureThreshold": 3, "behavior": "currentReplicas"}},
    advanced(policies=[POLICY], selectPolicy="Max", stabilizationWindowSeconds=30, tolerance="0.1"),
    {"advanced": {"restoreToOriginalReplicaCount": True, "scalingModifiers": {"formula": "a + b", "target": "2"}}},
]


def causes(given: Object) -> list[tuple[str, str]]:
    spec = {"triggers": [CPU], **given}
    found = review(sdep(predictor(componentSpecs=[component("clf", kedaSpec=spec)])))
    return [(cause.field, cause.message) for cause in found]


def keda_complains(given: Object) -> bool:
    spec = {"scaleTargetRef": {"name": "x"}, "triggers": [CPU], **given}
    return complain_of_definition({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "spec": spec}) != []


@pytest.mark.parametrize(("given", "field", "said"), [*SHAPES, *ACROSS])
def test_what_keda_would_refuse_is_refused_with_its_path(given: Object, field: str, said: str) -> None:
    ((where, message),) = causes(given)
    assert where == f"{PATH}.{field}"
    assert said in message


@pytest.mark.parametrize("given", RIGHT)
def test_what_keda_takes_is_taken(given: Object) -> None:
    assert causes(given) == []
    assert not keda_complains(given)


@pytest.mark.parametrize("given", [given for given, _, _ in SHAPES if given != {"maxReplicaCount": 2**31}])
def test_shapes_are_those_of_keda_s_own_definition(given: Object) -> None:
    """JSON schema knows no format int32, so the number that is too large is left out."""
    assert keda_complains(given)


def test_another_target_than_the_deployment_of_the_component_is_refused() -> None:
    ((field, message),) = causes({"scaleTargetRef": {"name": "other"}})
    assert (field, "'scaleTargetRef' is not one of" in message) == (f"{PATH}.scaleTargetRef", True)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    assert [field for field, _ in causes({"cooldownPeriod": "soon", "maxReplicaCount": 0})] == [
        f"{PATH}.cooldownPeriod",
        f"{PATH}.maxReplicaCount",
    ]


@pytest.mark.parametrize("field", ["minReplicaCount", "fallback", "advanced", "triggers"])
@pytest.mark.parametrize("value", [-1, "x", [], [None], {1: {}}])
def test_a_value_of_any_shape_is_a_cause_and_no_error(field: str, value: Any) -> None:
    assert [*SPEC({"triggers": [CPU], field: value}, PATH)]
