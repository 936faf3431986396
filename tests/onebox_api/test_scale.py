"""`kubectl scale` of a SeldonDeployment reaches the Deployments of its predictors (behaviour 79)."""

from __future__ import annotations

import json
import shutil

import pytest

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from tests.contract.manifests import predictor, sdep
from tests.controller.cases import SETTINGS
from tests.onebox_api.conftest import ApiProcess

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def test_row_79_scale_changes_every_deployment_without_replicas_of_its_own(api: ApiProcess) -> None:
    manifest = sdep(predictor("free", traffic=90), predictor("fixed", traffic=10, replicas=1), replicas=1)
    del manifest["metadata"]["namespace"], manifest["metadata"]["uid"], manifest["metadata"]["generation"]
    api.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    assert _replicas(api) == {"iris-free-0-clf": 1, "iris-fixed-0-clf": 1}
    assert "scaled" in api.kubectl("scale", "sdep", "iris", "--replicas=2")
    assert _replicas(api) == {"iris-free-0-clf": 2, "iris-fixed-0-clf": 1}


def _replicas(api: ApiProcess) -> dict[str, int]:
    stored = SeldonDeployment.from_json(json.loads(api.kubectl("get", "sdep", "iris", "-o", "json")))
    made = desired(stored, Facts(SETTINGS, {}))
    return {obj["metadata"]["name"]: obj["spec"]["replicas"] for obj in made if obj["kind"] == "Deployment"}
