"""Every SeldonDeployment under seldon/ is accepted, and the controller makes objects of it."""

from __future__ import annotations

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
