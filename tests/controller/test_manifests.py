"""Every SeldonDeployment under seldon/: it builds, keeps to Seldon's schema, and is accepted."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from typing import Any

import jsonschema
import pytest
import yaml

from slipway.contract.admission import review
from slipway.contract.predictor_servers import SHIPPED
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from tests.controller.schemas import unknown_keys
from tests.data import REPOSITORY, SCHEMAS

SELDON = REPOSITORY / "seldon"
BEYOND = {"overlays/autoscale": [".spec.predictors[0].componentSpecs[0].hpaSpec.behavior"]}
"""Fields that only this controller carries out; Seldon's drops them, and Kubernetes' own windows hold there."""
FOLDERS = sorted(path.parent.relative_to(SELDON).as_posix() for path in SELDON.rglob("kustomization.yaml"))


def built(folder: str) -> list[dict[str, Any]]:
    kubectl = shutil.which("kubectl")
    assert kubectl, "kubectl is not here: these tests build with it"
    done = subprocess.run([kubectl, "kustomize", SELDON / folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def seldon_deployments(folder: str) -> list[dict[str, Any]]:
    return [document for document in built(folder) if document["kind"] == "SeldonDeployment"]


@cache
def schema() -> dict[str, Any]:
    """Seldon's v1 schema with children checked ten levels deep."""
    folder = SCHEMAS / "seldon-core"
    crd = yaml.load((folder / "seldondeployments.v1-small.yaml").read_text(), Loader=yaml.CSafeLoader)
    for change in yaml.safe_load((folder / "seldondeployments.v1-small.graph_children.patch.yaml").read_text()):
        *parents, last = change["path"].strip("/").split("/")
        place = crd
        for key in parents:
            place = place[int(key) if isinstance(place, list) else key]
        place[last] = change["value"]
    found: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def test_there_are_the_folders_that_the_demo_applies():
    for folder in ("base/yolo", "overlays/canary", "overlays/tutorial"):
        assert seldon_deployments(folder)


@pytest.mark.parametrize("folder", FOLDERS)
def test_manifest_is_accepted_and_has_objects(folder):
    for document in seldon_deployments(folder):
        assert review(document, predictor_servers=SHIPPED) == []
        assert desired(SeldonDeployment.from_json(document), Facts())


@pytest.mark.data
@pytest.mark.parametrize("folder", FOLDERS)
def test_manifest_keeps_to_seldons_schema(folder):
    for document in seldon_deployments(folder):
        jsonschema.Draft202012Validator(schema()).validate(document)
        assert list(unknown_keys(document, schema())) == BEYOND.get(folder, [])


@pytest.mark.data
def test_schema_check_finds_a_misspelt_key():
    (document, *_) = built("overlays/canary")
    document["spec"]["predictors"][0]["graph"]["children"][0]["modelURI"] = "s3://x"
    assert list(unknown_keys(document, schema())) == [".spec.predictors[0].graph.children[0].modelURI"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_images_have_a_tag_that_is_not_latest(folder):
    for document in seldon_deployments(folder):
        for predictor in document["spec"]["predictors"]:
            for component in predictor.get("componentSpecs", []):
                for container in component["spec"]["containers"]:
                    assert container["image"].rpartition(":")[2] not in ("", "latest")
                    assert ":" in container["image"]


def test_every_yaml_file_is_reachable():
    for path in SELDON.rglob("*.yaml"):
        if path.name != "kustomization.yaml":
            content = yaml.safe_load((path.parent / "kustomization.yaml").read_text())
            assert path.name in content["resources"]
