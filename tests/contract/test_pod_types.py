"""Fields of Pods whose values are of another type are refused at admission, and nothing that Kubernetes takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from slipway.contract.admission import review
from slipway.contract.fields import FieldError
from slipway.contract.pod_types import CONTAINER, POD
from tests.contract.manifests import node, predictor, sdep

FOLDER = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
SAMPLES: dict[str, Any] = {"string": "a", "boolean": True, "integer": 2**40, "number": 1.5}
CORE = "io.k8s.api.core.v1"
MAX_DEPTH = 10

Definitions = dict[str, Any]


def definitions(version: str) -> Definitions:
    found: dict[str, Definitions] = json.loads(
        (FOLDER / f"v{version}.0-local-strict" / "_definitions.json").read_text()
    )
    return found["$defs"]


def samples(schema: dict[str, Any], known: Definitions, depth: int = 0) -> Iterator[Any]:
    """Values of a schema: one for each of its fields, with nothing else in it, and so on below."""
    if "$ref" in schema:
        schema = known[schema["$ref"].rpartition("/")[2]]
    kinds = schema.get("type") or [part.get("type") for part in schema.get("oneOf", ())]
    kind = next((one for one in ([kinds] if isinstance(kinds, str) else kinds) if one not in (None, "null")), "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        for item in samples(schema["items"], known, depth + 1) if depth < MAX_DEPTH else ():
            yield [item]
    elif kind == "object":
        yield {}
        for name, field in schema.get("properties", {}).items() if depth < MAX_DEPTH else ():
            for value in samples(field, known, depth + 1):
                yield {name: value}
    else:
        yield SAMPLES[kind]


@pytest.mark.parametrize("version", ["1.29", "1.32"])
def test_no_field_of_kubernetes_is_refused(version: str) -> None:
    known = definitions(version)
    pods = list(samples(known[f"{CORE}.PodSpec"], known))
    assert len(pods) > 500
    for pod in pods:
        POD(pod, "spec")


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"env": [{"name": "WORKERS", "value": 8}]}, "env[0].value", '8 is not a text: write "8"'),
    ({"env": [{"name": "FAST", "value": True}]}, "env[0].value", 'True is not a text: write "true"'),
    ({"env": [{"name": "A", "valueFrom": "x"}]}, "env[0].valueFrom", "'x' is not an object"),
    ({"env": [{"name": "A", "valueFrom": {"fieldRef": "x"}}]}, "env[0].valueFrom.fieldRef", "not an object"),
    ({"command": "run me"}, "command", "'run me' is not a list"),
    ({"args": ["--port", 9000]}, "args[1]", '9000 is not a text: write "9000"'),
    ({"envFrom": [{"secretRef": "keys"}]}, "envFrom[0].secretRef", "'keys' is not an object"),
    ({"resources": {"requests": 1}}, "resources.requests", "1 is not an object"),
    ({"resources": {"requests": {"cpu": "many"}}}, "resources.requests[cpu]", "is not a quantity"),
    ({"securityContext": {"runAsNonRoot": "yes"}}, "securityContext.runAsNonRoot", "'yes' is not true or false"),
    ({"securityContext": {"runAsUser": "8888"}}, "securityContext.runAsUser", "'8888' is not a whole number"),
    ({"volumeMounts": [{"name": "a", "mountPath": "/a", "readOnly": 1}]}, "volumeMounts[0].readOnly", "1 is not true"),
    ({"ports": [{"name": "http", "containerPort": "9000"}]}, "ports[0].containerPort", "'9000' is not a whole number"),
]


@pytest.mark.parametrize(("fields", "place", "words"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_container_with_a_value_of_another_type_is_one_cause_at_its_field(
    fields: dict[str, Any], place: str, words: str
) -> None:
    own = {"containers": [{"name": "clf", "image": "x:1", **fields}]}
    explainer = {"type": "AnchorTabular", "containerSpec": {"image": "x:1", **fields}}
    for manifest, container in (
        (sdep(predictor(componentSpecs=[{"spec": own}])), "componentSpecs[0].spec.containers[0]"),
        (sdep(predictor(explainer=explainer)), "explainer.containerSpec"),
    ):
        (cause,) = review(manifest)
        assert cause.field == f"spec.predictors[0].{container}.{place}"
        assert words in cause.message


@pytest.mark.parametrize(
    ("fields", "place", "words"), [case for case in WRONG if case[0].keys() <= {"env", "resources"}]
)
def test_orchestrator_with_a_value_of_another_type_is_one_cause_at_its_field(
    fields: dict[str, Any], place: str, words: str
) -> None:
    (cause,) = review(sdep(predictor(svcOrchSpec=fields)))
    assert cause.field == f"spec.predictors[0].svcOrchSpec.{place}"
    assert words in cause.message


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"nodeSelector": {"gpu": True}}, "nodeSelector[gpu]"),
        ({"tolerations": [{"key": 1}]}, "tolerations[0].key"),
        ({"imagePullSecrets": ["registry"]}, "imagePullSecrets[0]"),
        ({"terminationGracePeriodSeconds": "30"}, "terminationGracePeriodSeconds"),
        ({"serviceAccountName": ["a"]}, "serviceAccountName"),
        ({"securityContext": {"fsGroup": "1"}}, "securityContext.fsGroup"),
        ({"volumes": [{"name": "a", "secret": "keys"}]}, "volumes[0].secret"),
        ({"volumes": [{"name": "a", "configMap": {"name": 1}}]}, "volumes[0].configMap.name"),
    ],
)
def test_pod_with_a_value_of_another_type_is_one_cause_at_its_field(fields: dict[str, Any], place: str) -> None:
    spec = {"containers": [{"name": "clf", "image": "x:1"}], **fields}
    assert [cause.field for cause in review(sdep(predictor(graph=node(), componentSpecs=[{"spec": spec}])))] == [
        f"spec.predictors[0].componentSpecs[0].spec.{place}"
    ]


def test_null_is_absent_and_an_unknown_field_is_the_api_s_to_judge() -> None:
    CONTAINER({"command": None, "securityContext": {"runAsUser": None}, "somethingNew": 5}, "c")
    with pytest.raises(FieldError):
        CONTAINER({"env": [None]}, "c")
