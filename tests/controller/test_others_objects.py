"""What others made, a moment before or in a namespace that is not known yet, is theirs."""

from __future__ import annotations

from typing import Any, cast

import pytest

from slipway.controller.reconcile import Reconciler
from slipway.controller.report import Reports
from slipway.controller.secrets import ModelSecret
from slipway.controller.view import View
from slipway.kube.client import Kube
from slipway.kube.errors import NotFound
from slipway.kube.kinds import NAMESPACE as NAMESPACES
from slipway.kube.kinds import SECRET, SELDON_DEPLOYMENT, SERVICE, Kind
from slipway.kube.reflector import Reflector
from tests.contract.manifests import node, predictor, sdep
from tests.controller.cases import SETTINGS
from tests.controller.conftest import NAMESPACE, Platform

THEIRS = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "iris-main", "namespace": NAMESPACE},
    "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 8000, "name": "http", "targetPort": 1}]},
}
SECRET_NAME = "slipway-model-storage"
WITH_MODEL = sdep(predictor(graph=node(modelUri="s3://bucket/m")))


async def test_service_that_somebody_makes_while_ours_is_made_stays_theirs(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = Kube.get

    async def get_and_be_overtaken(kube: Kube, kind: Kind, name: str, **place: Any) -> Any:
        try:
            return await get(kube, kind, name, **place)
        except NotFound:
            if (kind, name) == (SERVICE, "iris-main"):
                await kube.create(THEIRS)
            raise

    monkeypatch.setattr(Kube, "get", get_and_be_overtaken)
    await platform.apply(sdep())
    status = await platform.until(lambda status: status["state"] == "Failed", what="Failed")
    assert "Service iris-main is there already and belongs to nobody" in status["description"]
    found = await platform.kube.get(SERVICE, "iris-main", namespace=NAMESPACE)
    assert found["spec"]["selector"] == {"app": "theirs"}
    assert "ownerReferences" not in found["metadata"]


async def test_secret_of_the_store_that_somebody_made_is_not_overwritten(platform: Platform) -> None:
    for namespace, key in (("slipway-system", "cGxhdGZvcm0="), (NAMESPACE, "dGhlaXJz")):
        meta = {"name": SECRET_NAME, "namespace": namespace}
        await platform.kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"KEY": key}})
    await platform.apply(WITH_MODEL)
    status = await platform.until(lambda status: status["state"] == "Failed", what="Failed")
    assert f"Secret {SECRET_NAME} of namespace {NAMESPACE} is kept otherwise by somebody else" in status["description"]
    found = await platform.kube.get(SECRET, SECRET_NAME, namespace=NAMESPACE)
    assert found["data"] == {"KEY": "dGhlaXJz"}


class Known:
    """Stands for a reflector with these objects."""

    def __init__(self, kind: Kind, *objects: dict[str, Any]) -> None:
        self.kind = kind
        self.found = {(obj["metadata"].get("namespace", ""), obj["metadata"]["name"]): obj for obj in objects}

    def objects(self, kind: Kind) -> dict[tuple[str, str], dict[str, Any]]:
        return self.found if kind == self.kind else {}


def looks_after(*namespaces: dict[str, Any]) -> Reconciler:
    """Whose effects would raise."""
    nothing = cast("Any", None)
    view = View(cast("Reflector", Known(SELDON_DEPLOYMENT, OBJECT)))
    known = cast("Reflector", Known(NAMESPACES, *namespaces))
    secret = ModelSecret(nothing, nothing, "slipway-system", SECRET_NAME)
    return Reconciler(nothing, view, nothing, known, secret, SETTINGS, nothing, nothing, Reports(nothing, view))


OBJECT = sdep()
KEY = (OBJECT["metadata"]["namespace"], OBJECT["metadata"]["name"])


async def test_object_of_a_namespace_that_is_not_known_yet_is_left_alone() -> None:
    assert not SETTINGS.has_own_mesh
    assert await looks_after()(KEY) is None
    with pytest.raises(AttributeError):  # the namespace is known, and nobody else's: it goes to work
        await looks_after({"metadata": {"name": KEY[0]}})(KEY)
