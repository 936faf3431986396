"""Which image serves a prepackaged node, on a cluster and on one machine; digests of models from outside the registry."""

from __future__ import annotations

import re
from typing import Any

import pytest

import slipway
from slipway.contract.annotations import BY_NAME, MODEL_SHA256
from slipway.contract.defaulting import default
from slipway.contract.model_digests import digest_causes, digest_of
from slipway.contract.predictor_servers import CLUSTER_ONLY, SHIPPED, cluster_only, image_of, parse_servers
from slipway.contract.sdep import SeldonDeployment
from slipway.contract.validation import validate
from slipway.onebox.images.spec import find_image_folder, load_image_spec
from tests.data import REPOSITORY

A, B = "a" * 64, "b" * 64
BOTH = {"seldon": "example/seldon:1", "v2": "example/v2:1"}


def manifest(
    graph: dict[str, Any], *, protocol: str = "", annotations: dict[str, str] | None = None
) -> SeldonDeployment:
    predictor = {"name": "main", "graph": graph, **({"annotations": annotations} if annotations else {})}
    spec = {"predictors": [predictor], **({"protocol": protocol} if protocol else {})}
    return SeldonDeployment.from_json(
        {
            "apiVersion": "machinelearning.seldon.io/v1",
            "kind": "SeldonDeployment",
            "metadata": {"name": "iris", "namespace": "team"},
            "spec": spec,
        }
    )


def node(implementation: str, name: str = "clf") -> dict[str, Any]:
    return {"name": name, "implementation": implementation, "modelUri": "models:/iris@champion"}


def messages(sdep: SeldonDeployment, **servers: Any) -> str:
    return "; ".join(f"{cause.field}: {cause.message}" for cause in validate(sdep, predictor_servers=servers))


@pytest.mark.parametrize("implementation", sorted(SHIPPED))
def test_every_shipped_server_has_an_image_folder_whose_class_is_there(implementation):
    name, _, tag = SHIPPED[implementation].partition(":")
    spec = load_image_spec(find_image_folder(name, REPOSITORY))
    assert tag == slipway.__version__
    assert spec.class_name is not None
    module, _, class_name = spec.class_name.rpartition(".")
    source = (REPOSITORY / f"{module.replace('.', '/')}.py").read_text()
    assert re.search(rf"^class {class_name}\b", source, re.MULTILINE)


@pytest.mark.parametrize("implementation", sorted(SHIPPED))
@pytest.mark.parametrize("protocol", ["", "seldon", "v2", "kfserving"])
def test_shipped_servers_serve_both_protocols_and_not_tensorflow(implementation, protocol):
    assert messages(manifest(node(implementation), protocol=protocol), **SHIPPED) == ""
    refused = messages(manifest(node(implementation), protocol="tensorflow"), **SHIPPED)
    assert f"{implementation} does not speak protocol tensorflow" in refused


@pytest.mark.parametrize(
    ("protocol", "image"),
    [
        ("", "example/seldon:1"),
        ("seldon", "example/seldon:1"),
        ("v2", "example/v2:1"),
        ("kfserving", "example/v2:1"),
        ("tensorflow", ""),
    ],
)
def test_image_is_chosen_by_protocol(protocol, image):
    assert image_of({"MY_SERVER": BOTH}, "MY_SERVER", protocol) == image
    assert image_of({"MY_SERVER": "example/any:1"}, "MY_SERVER", protocol) == "example/any:1"


def test_node_gets_the_image_of_its_protocol_and_a_protocol_without_one_is_refused():
    given = manifest(node("MY_SERVER"), protocol="v2")
    (predictor,) = default(given, predictor_servers={"MY_SERVER": BOTH}).predictors
    assert predictor.component_specs[0].containers[0]["image"] == "example/v2:1"
    assert messages(given, MY_SERVER={"seldon": "example/seldon:1"}) == (
        "spec.predictors[0].graph: node 'clf': MY_SERVER has no image for protocol v2"
    )


@pytest.mark.parametrize("loaded", [{"A": "a:1"}, {"A": BOTH}, {}])
def test_configuration_is_read(loaded):
    assert parse_servers(loaded) == loaded


@pytest.mark.parametrize(
    ("loaded", "text"),
    [
        (["A"], "a mapping of implementation to image is expected"),
        ({"A": 3}, "'A': an image is expected"),
        ({"A": {"rest": "a:1"}}, "A: 'rest': an image for one of seldon, tensorflow, v2, kfserving"),
        ({"A": {"v2": ""}}, "A: 'v2'"),
        ({"A": ""}, "A: 'seldon'"),
    ],
)
def test_configuration_that_is_none_says_where(loaded, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        parse_servers(loaded)


@pytest.mark.parametrize("implementation", CLUSTER_ONLY)
def test_servers_of_others_need_an_image_and_are_refused_on_one_machine(implementation):
    given = manifest(node(implementation), protocol="v2")
    assert "--predictor-servers (known here: DARKNET_SERVER" in messages(given, **SHIPPED)
    assert messages(given, **{**SHIPPED, implementation: "example/server:1"}) == ""
    inner = manifest({"name": "first", "implementation": "SIMPLE_MODEL", "children": [node(implementation)]})
    (cause,) = cluster_only(inner)
    assert cause.field == "spec.predictors[0].graph[0]"
    assert "one machine runs no container images" in cause.message
    assert list(cluster_only(manifest(node("SKLEARN_SERVER")))) == []


@pytest.mark.parametrize(
    ("text", "clf", "scaler"),
    [
        (A, A, A),
        (f"sha256:{A}", A, A),
        (f"clf=sha256:{A}", A, None),
        (f"clf={A}, scaler=sha256:{B}", A, B),
        (f"{A},scaler={B}", A, B),
    ],
)
def test_digest_is_that_of_the_node(text, clf, scaler):
    graph = {**node("SKLEARN_SERVER", "scaler"), "children": [node("SKLEARN_SERVER")]}
    given = manifest(graph, annotations={MODEL_SHA256: text})
    (predictor,) = given.predictors
    assert re.fullmatch(BY_NAME[MODEL_SHA256].values, text)
    assert digest_of(predictor, "clf") == f"sha256:{clf}"
    assert digest_of(predictor, "scaler") == (scaler and f"sha256:{scaler}")
    assert list(digest_causes(given)) == []
    assert digest_of(manifest(graph).predictors[0], "clf") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"other={A}", "'other' is no node of the graph: there are clf"),
        (f"clf={A},clf={B}", "two digests for the same node"),
        (f"{A},{B}", "two digests for the same node"),
    ],
)
def test_digest_of_no_node_or_of_one_twice_is_refused(text, message):
    given = manifest(node("SKLEARN_SERVER"), annotations={MODEL_SHA256: text})
    assert f"spec.predictors[0].annotations[{MODEL_SHA256}]: {message}" in messages(given, **SHIPPED)


@pytest.mark.parametrize("text", ["sha256:abc", f"clf={A},", f"Clf={A}", "none"])
def test_digest_that_is_none_is_refused(text):
    given = manifest(node("SKLEARN_SERVER"), annotations={MODEL_SHA256: text})
    assert "does not match" in messages(given, **SHIPPED)
