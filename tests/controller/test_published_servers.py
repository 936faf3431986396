"""Containers of servers that others publish, on a cluster (contract section 5): flags, variables, probes, sidecars."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from slipway.contract.predictor_servers import SHIPPED
from slipway.contract.sdep import SeldonDeployment
from slipway.contract.validation import validate
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from tests.contract.manifests import Manifest, component, node, predictor, sdep
from tests.controller.cases import SETTINGS

Object = dict[str, Any]
SERVERS = {
    **SHIPPED,
    "TRITON_SERVER": "example/triton:1",
    "TENSORFLOW_SERVER": {"seldon": "example/proxy:1", "tensorflow": "example/tfserving:1"},
    "HUGGINGFACE_SERVER": {"v2": "example/mlserver:1-huggingface"},
    "SKLEARN_SERVER": {"seldon": "example/sklearn:1", "v2": "example/mlserver:1"},
}


def pod(manifest: Manifest) -> Object:
    facts = Facts(replace(SETTINGS, predictor_servers=SERVERS))
    made = desired(SeldonDeployment.from_json(manifest), facts)
    (found,) = [obj for obj in made if obj["kind"] == "Deployment"]
    return found["spec"]["template"]["spec"]


def served(implementation: str, *, protocol: str, annotations: dict[str, str] | None = None, **fields: Any) -> Manifest:
    graph = node(implementation=implementation, modelUri="s3://models/one", **fields)
    return sdep(predictor(graph=graph, componentSpecs=[]), protocol=protocol, annotations=annotations or {})


def named(spec: Object, name: str) -> Object:
    return next(item for item in spec["containers"] if item["name"] == name)


def env(container: Object) -> dict[str, str]:
    return {item["name"]: item["value"] for item in container["env"]}


def parameter(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value, "type": "STRING"}


@pytest.mark.parametrize("protocol", ["v2", "kfserving"])
def test_triton_reads_what_the_initializer_fetched(protocol):
    spec = pod(served("TRITON_SERVER", protocol=protocol))
    container = named(spec, "clf")
    assert container["image"] == "example/triton:1"
    assert container["args"] == [
        "/opt/tritonserver/bin/tritonserver",
        "--grpc-port=9500",
        "--http-port=9000",
        "--model-repository=/mnt/models",
        "--strict-model-config=false",
    ]
    assert [item["name"] for item in spec["initContainers"]] == ["clf-model-initializer"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/v2/health/live", "port": "http"}


def test_triton_loads_its_model_uri_itself_where_the_annotation_says_so():
    parameters = [parameter("model_control_mode", "explicit"), parameter("load_model", "one")]
    annotations = {"seldon.io/no-storage-initializer": "true"}
    spec = pod(served("TRITON_SERVER", protocol="v2", annotations=annotations, parameters=parameters))
    container = named(spec, "clf")
    assert container["args"][3:] == [
        "--model-repository=s3://models/one",
        "--strict-model-config=false",
        "--model-control-mode=explicit",
        "--load-model=one",
    ]
    assert container["envFrom"] == [{"secretRef": {"name": "slipway-model-storage", "optional": True}}]
    assert "initContainers" not in spec
    assert "MLSERVER_MODEL_URI" not in env(container)
    assert not [item for item in container["volumeMounts"] if item["mountPath"] == "/mnt/models"]


def test_no_storage_initializer_is_about_triton_only():
    annotations = {"seldon.io/no-storage-initializer": "true"}
    assert "initContainers" in pod(served("SKLEARN_SERVER", protocol="v2", annotations=annotations))


def test_tensorflow_serving_is_the_container_in_its_own_protocol():
    spec = pod(served("TENSORFLOW_SERVER", protocol="tensorflow"))
    assert [item["name"] for item in spec["containers"]] == ["clf", "seldon-container-engine"]
    assert named(spec, "clf")["image"] == "example/tfserving:1"
    assert named(spec, "clf")["args"] == [
        "--port=9500",
        "--rest_api_port=9000",
        "--model_name=clf",
        "--model_base_path=/mnt/models",
    ]


def test_tensorflow_serving_is_beside_its_proxy_in_the_seldon_protocol():
    spec = pod(served("TENSORFLOW_SERVER", protocol="seldon", parameters=[parameter("grpc_endpoint", "0.0.0.0:7")]))
    proxy, serving = named(spec, "clf"), named(spec, "tfserving")
    assert (proxy["image"], serving["image"]) == ("example/proxy:1", "example/tfserving:1")
    given = {item["name"]: item["value"] for item in json.loads(env(proxy)["PREDICTIVE_UNIT_PARAMETERS"])}
    assert given == {"rest_endpoint": "http://0.0.0.0:2001", "grpc_endpoint": "0.0.0.0:7", "model_name": "clf"}
    assert serving["args"] == [
        "--port=2000",
        "--rest_api_port=2001",
        "--model_name=clf",
        "--model_base_path=/mnt/models",
    ]
    assert {"name": "clf-provision-location", "mountPath": "/mnt/models", "readOnly": True} in serving["volumeMounts"]
    assert "args" not in proxy


def test_mlserver_is_told_its_runtime():
    found = env(named(pod(served("SKLEARN_SERVER", protocol="v2")), "clf"))
    assert found["MLSERVER_MODEL_IMPLEMENTATION"] == "mlserver_sklearn.SKLearnModel"
    assert (found["MLSERVER_MODEL_NAME"], found["MLSERVER_MODEL_VERSION"]) == ("clf", "v1")
    assert (found["MLSERVER_MODEL_URI"], found["MLSERVER_HTTP_PORT"]) == ("/mnt/models", "9000")
    assert "MLSERVER_MODEL_IMPLEMENTATION" not in env(named(pod(served("SKLEARN_SERVER", protocol="seldon")), "clf"))


def test_hugging_face_needs_no_model_uri():
    graph = node(implementation="HUGGINGFACE_SERVER", parameters=[parameter("task", "text-generation")])
    spec = pod(sdep(predictor(graph=graph, componentSpecs=[]), protocol="v2"))
    found = env(named(spec, "clf"))
    assert found["MLSERVER_MODEL_IMPLEMENTATION"] == "mlserver_huggingface.HuggingFaceRuntime"
    assert (found["MLSERVER_PARALLEL_WORKERS"], found["XDG_CACHE_HOME"]) == ("0", "/opt/mlserver")
    assert "initContainers" not in spec


def test_what_the_manifest_s_container_says_stays():
    mine = {"args": ["mine"], "readinessProbe": {"tcpSocket": {"port": 1}}}
    spec = component("clf")
    spec["spec"]["containers"][0].update(mine)
    graph = node(implementation="TRITON_SERVER", modelUri="s3://models/one")
    container = named(pod(sdep(predictor(graph=graph, componentSpecs=[spec]), protocol="v2")), "clf")
    assert {key: container[key] for key in mine} == mine


@pytest.mark.parametrize("implementation", ["TRITON_SERVER", "HUGGINGFACE_SERVER"])
def test_servers_of_v2_are_refused_in_the_seldon_protocol(implementation):
    given = SeldonDeployment.from_json(served(implementation, protocol="seldon"))
    (cause,) = validate(given, predictor_servers=SERVERS)
    assert cause.message == f"node 'clf': {implementation} has no image for protocol seldon; it speaks v2 only"
