"""What people write into the objects that the controller makes does not stand in the way of its own changes."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.kube.kinds import DEPLOYMENT
from tests.contract.manifests import component, node, predictor, sdep
from tests.controller_faults.conftest import make_rig
from tests.onebox_api.conftest import ApiProcess

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("hasty"), pytest.mark.timeout(120)]
NAME = "iris-main-0-clf"


def iris(**annotations: str) -> dict[str, Any]:
    made = sdep(predictor(graph=node("clf"), componentSpecs=[component("clf")]), annotations=annotations)
    return {**made, "metadata": {"name": made["metadata"]["name"]}}


async def test_container_that_somebody_edited_can_be_taken_away(api: ApiProcess) -> None:
    """``kubectl set env`` writes into every container: into the orchestrator, which then gets a Pod of its own."""
    async with make_rig(api) as rig:
        await rig.start()
        await rig.world.apply(iris())
        await rig.world.until({"iris": "Available"})
        made = await rig.world.kube.get(DEPLOYMENT, NAME, namespace=rig.world.namespace)
        names = [one["name"] for one in made["spec"]["template"]["spec"]["containers"]]
        assert "seldon-container-engine" in names
        edit = [{"name": name, "env": [{"name": "A", "value": "b"}]} for name in names]
        await rig.world.kube.patch(
            DEPLOYMENT,
            NAME,
            {"spec": {"template": {"spec": {"containers": edit}}}},
            type="strategic",
            namespace=rig.world.namespace,
            field_manager="kubectl-set",
        )
        await rig.world.until({"iris": "Available"})
        await rig.world.apply(iris(**{"seldon.io/engine-separate-pod": "true"}))
        await rig.world.until({"iris": "Available"})
        made = await rig.world.kube.get(DEPLOYMENT, NAME, namespace=rig.world.namespace)
    assert [one["name"] for one in made["spec"]["template"]["spec"]["containers"]] == ["clf"]
