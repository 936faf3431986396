"""What Kubernetes refuses of a PodSpec is refused of a componentSpec, at the same field and in the same words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.contract.admission import review
from slipway.contract.field_causes import quote
from slipway.contract.pod_rules import pod_causes
from tests.contract.manifests import predictor, sdep

HTTP = {"httpGet": {"path": "/", "port": 9000}}
TCP = {"tcpSocket": {"port": "http"}}
FIELD = {"fieldPath": "metadata.name"}


def container(**more: Any) -> dict[str, Any]:
    return {"containers": [{"name": "clf", "image": "x:1", **more}]}


def env(*items: dict[str, Any]) -> dict[str, Any]:
    return container(env=list(items))


def mounts(*items: dict[str, Any]) -> dict[str, Any]:
    return container(volumeMounts=[{"name": "a", **item} for item in items])


def volumes(*items: dict[str, Any]) -> dict[str, Any]:
    return {**container(), "volumes": list(items)}


C = "containers[0]"
BROKEN = [
    (env({"name": "A=B", "value": "1"}), f"{C}.env[0].name", 'Invalid value: "A=B": a valid environment variable name'),
    (env({"name": "Ä"}), f"{C}.env[0].name", "Invalid value"),
    (env({"name": "A", "valueFrom": {}}), f"{C}.env[0].valueFrom", "must specify one of: `fieldRef`"),
    (
        env({"name": "A", "value": "1", "valueFrom": {"fieldRef": FIELD}}),
        f"{C}.env[0].valueFrom",
        "may not be specified when `value` is not empty",
    ),
    (
        env({"name": "A", "valueFrom": {"fieldRef": FIELD, "secretKeyRef": {"name": "s", "key": "k"}}}),
        f"{C}.env[0].valueFrom",
        "may not have more than one field specified at a time",
    ),
    (container(readinessProbe={**HTTP, **TCP}), f"{C}.readinessProbe.tcpSocket", "may not specify more than 1 handler"),
    (container(readinessProbe={"periodSeconds": 1}), f"{C}.readinessProbe", "must specify a handler type"),
    (container(lifecycle={"preStop": {}}), f"{C}.lifecycle.preStop", "must specify a handler type"),
    (container(readinessProbe={**HTTP, "periodSeconds": -1}), f"{C}.readinessProbe.periodSeconds", "greater than or"),
    (container(startupProbe={**HTTP, "timeoutSeconds": -1}), f"{C}.startupProbe.timeoutSeconds", "greater than or"),
    (
        container(livenessProbe={**HTTP, "failureThreshold": -1}),
        f"{C}.livenessProbe.failureThreshold",
        "must be greater than or equal to 0",
    ),
    (container(livenessProbe={**HTTP, "successThreshold": 3}), f"{C}.livenessProbe.successThreshold", "must be 1"),
    (container(startupProbe={**HTTP, "successThreshold": 2}), f"{C}.startupProbe.successThreshold", "must be 1"),
    (
        container(livenessProbe={**HTTP, "terminationGracePeriodSeconds": 0}),
        f"{C}.livenessProbe.terminationGracePeriodSeconds",
        "must be greater than 0",
    ),
    (container(livenessProbe={"exec": {}}), f"{C}.livenessProbe.exec.command", "Required value"),
    (container(livenessProbe={"grpc": {"port": 0}}), f"{C}.livenessProbe.grpc.port", "must be between 1 and 65535"),
    (container(livenessProbe={"tcpSocket": {"port": 70000}}), f"{C}.livenessProbe.tcpSocket.port", "between 1 and"),
    (container(livenessProbe={"httpGet": {"port": "a--b"}}), f"{C}.livenessProbe.httpGet.port", "consecutive hyphens"),
    (
        container(livenessProbe={"httpGet": {"port": 1, "scheme": "http"}}),
        f"{C}.livenessProbe.httpGet.scheme",
        'Unsupported value: "http": supported values: "HTTP", "HTTPS"',
    ),
    (container(livenessProbe={**HTTP, "periodSeconds": "5"}), f"{C}.livenessProbe.periodSeconds", "is not a whole"),
    (mounts({"mountPath": "/x"}, {"mountPath": "/x"}), f"{C}.volumeMounts[1].mountPath", "must be unique"),
    (mounts({}), f"{C}.volumeMounts[0].mountPath", "Required value"),
    (mounts({"mountPath": "/x", "subPath": "a/../../b"}), f"{C}.volumeMounts[0].subPath", "must not contain '..'"),
    (mounts({"mountPath": "/x", "subPath": "/b"}), f"{C}.volumeMounts[0].subPath", "must be a relative path"),
    (
        container(imagePullPolicy="Bogus"),
        f"{C}.imagePullPolicy",
        'Unsupported value: "Bogus": supported values: "Always", "IfNotPresent", "Never"',
    ),
    (container(resources={"limits": {"cpu": "many"}}), f"{C}.resources.limits[cpu]", "is not a quantity"),
    (container(ports=[{"containerPort": 1, "name": "99"}]), f"{C}.ports[0].name", "at least one letter"),
    (volumes({"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}), "volumes[1].name", 'Duplicate value: "a"'),
    (volumes({"name": "A", "emptyDir": {}}), "volumes[0].name", "a lowercase RFC 1123 label"),
    (
        volumes({"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}),
        "volumes[0].hostPath",
        "may not specify more than 1 volume type",
    ),
    ({**container(), "activeDeadlineSeconds": 0}, "activeDeadlineSeconds", "must be between 1 and 2147483647"),
    (
        {**container(), "restartPolicy": "Sometimes"},
        "restartPolicy",
        'supported values: "Always", "OnFailure", "Never"',
    ),
    (
        {**container(), "initContainers": [{"name": "i", "image": "x:1", "livenessProbe": HTTP}]},
        "initContainers[0].livenessProbe",
        "may not be set for init containers",
    ),
]


@pytest.mark.parametrize(("spec", "field", "words"), BROKEN, ids=lambda value: value if isinstance(value, str) else "")
def test_broken_pod_is_one_cause_at_its_field(spec: dict[str, Any], field: str, words: str) -> None:
    causes = list(pod_causes(spec, "spec"))
    assert [cause.field for cause in causes] == [f"spec.{field}"]
    assert words in causes[0].message


@pytest.mark.parametrize(("spec", "field", "words"), BROKEN, ids=lambda value: value if isinstance(value, str) else "")
def test_component_of_a_seldon_deployment_is_read_as_a_pod(spec: dict[str, Any], field: str, words: str) -> None:
    causes = review(sdep(predictor(componentSpecs=[{"spec": spec}])))
    found = [cause for cause in causes if cause.field == f"spec.predictors[0].componentSpecs[0].spec.{field}"]
    assert any(words in cause.message for cause in found), causes


@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
def test_component_whose_pods_would_not_stay_is_refused(policy: str) -> None:
    causes = review(sdep(predictor(componentSpecs=[{"spec": {**container(), "restartPolicy": policy}}])))
    text = f'Unsupported value: "{policy}": supported values: "Always"'
    place = "spec.predictors[0].componentSpecs[0].spec.restartPolicy"
    assert [(cause.field, cause.message, cause.reason) for cause in causes] == [(place, text, "FieldValueNotSupported")]


def test_environment_of_the_orchestrator_is_read_too() -> None:
    causes = review(sdep(predictor(svcOrchSpec={"env": [{"name": "A=B", "value": "1"}]})))
    assert [cause.field for cause in causes] == ["spec.predictors[0].svcOrchSpec.env[0].name"]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        env({"name": "a.b c"}, {"name": "A", "value": "1"}, {"name": "A", "value": "2"}),
        env({"name": "A", "valueFrom": {"fieldRef": FIELD}}),
        container(readinessProbe={**TCP, "successThreshold": 3, "timeoutSeconds": 0}),
        container(livenessProbe={**HTTP, "successThreshold": 0}, lifecycle={"preStop": {"sleep": {"seconds": 1}}}),
        mounts({"mountPath": "/x", "subPath": "a..b/c"}, {"mountPath": "/x/"}),
        volumes({"name": "a"}, {"name": "b", "emptyDir": {}, "hostPath": None}),
        {**container(), "initContainers": [{"name": "i", "restartPolicy": "Always", "startupProbe": HTTP}]},
        {**container(), "restartPolicy": "Never", "activeDeadlineSeconds": 1},
    ],
)
def test_pod_that_kubernetes_takes_is_taken(spec: dict[str, Any]) -> None:
    assert list(pod_causes(spec, "spec")) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
PARTS = ("env", "ports", "volumeMounts", "resources", "livenessProbe", "lifecycle", "imagePullPolicy", "restartPolicy")


@given(st.dictionaries(st.sampled_from(PARTS), JSON | st.lists(st.dictionaries(st.sampled_from(("name", "value", "valueFrom", "mountPath", "subPath", "containerPort", "exec", "limits")), JSON), max_size=2)))  # fmt: skip
def test_any_container_is_answered(parts: dict[str, Any]) -> None:
    for cause in pod_causes({"containers": [parts], "volumes": [parts]}, "spec"):
        assert cause.field.startswith("spec.")
        assert cause.message


def test_quotes_are_those_of_go() -> None:
    assert [quote(value) for value in ('a"b', True, 3, {"b": 1, "a": "x"})] == [
        '"a\\"b"',
        "true",
        "3",
        'map[string]interface {}{"a":"x", "b":1}',
    ]
