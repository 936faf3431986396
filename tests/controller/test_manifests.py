"""Every SeldonDeployment under seldon/ is accepted, and the controller makes objects of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.contract.admission import review
from slipway.contract.predictor_servers import SHIPPED
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from tests.data import REPOSITORY
from tests.manifests.files import kustomizations, shown
from tests.manifests.kustomizations import Object, built

SELDON = REPOSITORY / "seldon"
FOLDERS = [folder for folder in kustomizations("Kustomization") if folder.is_relative_to(SELDON)]


def seldon_deployments(folder: Path) -> list[Object]:
    return [document for document in built(folder) if document["kind"] == "SeldonDeployment"]


def test_there_are_the_folders_that_the_demo_applies():
    for folder in ("base/yolo", "overlays/canary", "overlays/tutorial"):
        assert seldon_deployments(SELDON / folder)


@pytest.mark.parametrize("folder", FOLDERS, ids=shown)
def test_manifest_is_accepted_and_has_objects(folder):
    for document in seldon_deployments(folder):
        assert review(document, predictor_servers=SHIPPED) == []
        assert desired(SeldonDeployment.from_json(document), Facts())


def test_the_pod_for_a_gpu_asks_for_one_and_tolerates_its_node():
    (document,) = seldon_deployments(SELDON / "overlays" / "gpu")
    made = desired(SeldonDeployment.from_json(document), Facts())
    (pod,) = (obj["spec"]["template"]["spec"] for obj in made if obj["kind"] == "Deployment")
    (detector,) = (item for item in pod["containers"] if item["name"] == "yolo-detector")
    assert detector["image"].startswith("slipway/yolo-detector-gpu:")
    assert detector["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["tolerations"]
    (parameters,) = [item["value"] for item in detector["env"] if item["name"] == "PREDICTIVE_UNIT_PARAMETERS"]
    assert {"name": "engine", "value": "onnxruntime", "type": "STRING"} in json.loads(parameters)
