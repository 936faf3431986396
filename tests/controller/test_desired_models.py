"""The model of a node: its versions side by side, its download, and what a prepackaged server is told of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from slipway.controller.desired import desired
from tests.contract.manifests import node, predictor, sdep
from tests.controller.cases import follower, model, revision
from tests.controller.made import Object, container, env, initializer, template


def follower_objects(*versions: str) -> dict[tuple[str, str], Object]:
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in desired(*follower(*versions))}


def test_revisions_share_the_services_of_the_contract_and_have_all_else_of_their_own():
    found = follower_objects("2", "1")
    new, old = (revision("stable", version).name for version in "21")
    deployments = sorted(name for kind, name in found if kind == "Deployment")
    assert deployments == sorted(
        f"yolo-stable-{number}-{part}-{name}"
        for number, part in enumerate(("image-transformer", "yolo-detector"))
        for name in (new, old)
    )
    for service in ("yolo-stable", "yolo-stable-image-transformer", "yolo-stable-yolo-detector"):
        assert found["Service", service]["spec"]["selector"]["slipway.dev/revision"] == new
    assert [name for kind, name in found if kind == "Service" and name.endswith((new, old))] == [
        f"yolo-stable-yolo-detector-{new}",
        f"yolo-stable-yolo-detector-{old}",
    ]


def test_nodes_of_a_revision_call_their_own():
    found = follower_objects("2", "1")
    for version in "12":
        name = revision("stable", version).name
        graph = json.loads(
            found["ConfigMap", f"yolo-stable-0-image-transformer-{name}-graph"]["data"]["predictor.json"]
        )["graph"]
        (child,) = graph["children"]
        assert child["endpoint"]["service_host"] == f"yolo-stable-yolo-detector-{name}.team.svc.cluster.local"
        detector = found["Deployment", f"yolo-stable-1-yolo-detector-{name}"]["spec"]["template"]
        assert detector["spec"]["initContainers"][0]["args"] == [f"models:/shapes/{version}", "/mnt/models"]
        assert detector["metadata"]["labels"]["slipway.dev/revision"] == name


def test_warm_version_is_the_same_as_when_it_was_wanted():
    before, after = follower_objects("1"), follower_objects("2", "1")
    name = f"yolo-stable-1-yolo-detector-{revision('stable', '1').name}"
    assert after["Deployment", name] == before["Deployment", name]


def test_how_to_follow_is_no_part_of_a_pod():
    (template,) = [
        obj["spec"]["template"]
        for (kind, name), obj in follower_objects("1").items()
        if "-1-yolo-detector" in name and kind == "Deployment"
    ]
    assert not [key for key in template["metadata"]["annotations"] if key.startswith("slipway.dev/")]


def test_row_74_model_download_takes_the_nodes_secret_and_image_before_the_defaults():
    assert initializer()["envFrom"][0]["secretRef"]["name"] == "slipway-model-storage"
    assert initializer(envSecretRefName="mine")["envFrom"][0]["secretRef"]["name"] == "mine"
    assert initializer()["image"] == "slipway/storage-initializer:0.1.0"
    assert initializer(storageInitializerImage="other:1")["image"] == "other:1"


def test_model_download_is_of_the_resolved_version_with_its_digest():
    manifest = sdep(predictor(graph=node(modelUri="models:/shapes@champion")))
    (found,) = template(manifest, models={("main", "clf"): model("3")})["spec"]["initContainers"]
    assert found["args"] == ["models:/shapes/3", "/mnt/models"]
    assert {item["name"]: item["value"] for item in found["env"]} == {
        "SLIPWAY_MODEL_SOURCE": "s3://models/shapes/3",
        "SLIPWAY_MODEL_DIGEST": f"sha256:{'3' * 64}",
    }


@pytest.mark.parametrize(
    ("implementation", "annotation", "expected"),
    [
        ("SKLEARN_SERVER", "", {"SLIPWAY_UNPICKLED_BY": "main/clf"}),
        ("MLFLOW_SERVER", "", {"SLIPWAY_UNPICKLED_BY": "main/clf"}),
        ("MLFLOW_SERVER", f"clf={'4' * 64}", {"SLIPWAY_MODEL_DIGEST": f"sha256:{'4' * 64}"}),
        ("ONNX_SERVER", "", {}),
        ("XGBOOST_SERVER", f"sha256:{'4' * 64}", {"SLIPWAY_MODEL_DIGEST": f"sha256:{'4' * 64}"}),
    ],
)
def test_pickle_from_outside_the_registry_needs_its_digest(implementation, annotation, expected):
    graph = node(implementation=implementation, modelUri="s3://m")
    annotations = {"slipway.dev/model-sha256": annotation} if annotation else {}
    manifest = sdep(predictor(graph=graph, componentSpecs=[], annotations=annotations))
    (found,) = template(manifest)["spec"]["initContainers"]
    assert {item["name"]: item["value"] for item in found["env"]} == expected


def test_pickle_of_the_registry_has_its_digest():
    manifest = sdep(
        predictor(graph=node(implementation="SKLEARN_SERVER", modelUri="models:/iris/3"), componentSpecs=[])
    )
    (found,) = template(manifest, models={("main", "clf"): model("3")})["spec"]["initContainers"]
    assert "SLIPWAY_UNPICKLED_BY" not in {item["name"] for item in found["env"]}


@pytest.mark.parametrize(("annotation", "digest"), [(f"clf={'4' * 64}", f"sha256:{'4' * 64}"), ("4" * 64, None)])
def test_version_without_a_digest_has_that_of_its_node_by_name(annotation, digest):
    graph = node(implementation="MLFLOW_SERVER", modelUri="models:/iris/3")
    annotations = {"slipway.dev/model-sha256": annotation}
    manifest = sdep(predictor(graph=graph, componentSpecs=[], annotations=annotations))
    plain = replace(model("3"), digest=None)
    (found,) = template(manifest, models={("main", "clf"): plain})["spec"]["initContainers"]
    assert {item["name"]: item["value"] for item in found["env"]}.get("SLIPWAY_MODEL_DIGEST") == digest


def test_model_folder_is_read_only_for_the_model():
    mounts = container(sdep(predictor(graph=node(modelUri="s3://m"))))["volumeMounts"]
    assert {"name": "clf-provision-location", "mountPath": "/mnt/models", "readOnly": True} in mounts


def test_initializer_of_the_manifest_is_left_alone():
    mine = {"name": "clf-model-initializer", "image": "mine:1"}
    spec = {"spec": {"containers": [{"name": "clf", "image": "x:1"}], "initContainers": [mine]}}
    manifest = sdep(predictor(graph=node(modelUri="s3://m"), componentSpecs=[spec]))
    (found,) = template(manifest)["spec"]["initContainers"]
    assert {key: found[key] for key in found.keys() - {"securityContext"}} == mine
    assert "clf-provision-location" in [volume["name"] for volume in template(manifest)["spec"]["volumes"]], (
        "the model container mounts it"
    )


def test_prepackaged_server_gets_the_model_uri_parameter():
    given = [{"name": "model_uri", "value": "elsewhere", "type": "STRING"}]
    graph = node(implementation="SKLEARN_SERVER", modelUri="s3://m", parameters=given)
    found = env(sdep(predictor(graph=graph, componentSpecs=[])))
    assert json.loads(found["PREDICTIVE_UNIT_PARAMETERS"]) == [
        {"name": "model_uri", "value": "/mnt/models", "type": "STRING"}
    ]
