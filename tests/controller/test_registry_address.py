"""The registry's address and login in a Secret that comes after the controller, as one from a vault does, and changes."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from slipway.controller.keep import keep
from slipway.controller.registry_address import finder, of_secret
from slipway.kube.kinds import SECRET
from slipway.registry import RegistryAddress, RegistryUnavailable
from tests.contract.manifests import node, predictor, sdep
from tests.controller.cases import SETTINGS
from tests.controller.conftest import Platform

PLACE = ("slipway-system", "slipway-model-storage")
KEYS = {
    "MLFLOW_TRACKING_URI": "http://mlflow.slipway-system:5000/",
    "MLFLOW_TRACKING_USERNAME": "reader",
    "MLFLOW_TRACKING_PASSWORD": "secret",
}


def secret(values: Mapping[str, str]) -> dict[str, Any]:
    meta = {"namespace": PLACE[0], "name": PLACE[1]}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data}


def test_address_and_login_are_those_of_the_secret() -> None:
    found = of_secret(secret(KEYS | {"AWS_ACCESS_KEY_ID": "other"}), PLACE)
    assert found == RegistryAddress("http://mlflow.slipway-system:5000", "reader", "secret")
    assert of_secret(secret({"MLFLOW_TRACKING_URI": "http://open"}), PLACE) == RegistryAddress("http://open")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (None, "there is no Secret slipway-system/slipway-model-storage yet"),
        (secret({"AWS_ACCESS_KEY_ID": "a"}), "Secret slipway-system/slipway-model-storage has no MLFLOW_TRACKING_URI"),
        (secret({}), "has no MLFLOW_TRACKING_URI"),
        ({"data": {"MLFLOW_TRACKING_URI": "%%%"}}, "not text in base64"),
        ({"data": {"MLFLOW_TRACKING_URI": "/w=="}}, "not text in base64"),
    ],
)
def test_secret_without_an_address_is_told_by_name(found: dict[str, Any] | None, text: str) -> None:
    with pytest.raises(RegistryUnavailable, match=text):
        of_secret(found, PLACE)


def test_environment_counts_before_the_secret_and_the_secret_is_read_each_time() -> None:
    objects: dict[tuple[str, str], Any] = {}
    secrets: Any = SimpleNamespace(objects={SECRET: objects}.__getitem__)
    given = RegistryAddress("http://given")
    assert finder(given, secrets, PLACE)() == given
    find = finder(None, secrets, PLACE)
    with pytest.raises(RegistryUnavailable):
        find()
    for uri in ("http://one", "http://two"):
        objects[PLACE] = secret({"MLFLOW_TRACKING_URI": uri})
        assert find().uri == uri


async def test_models_are_resolved_when_the_secret_comes(platform: Platform) -> None:
    await platform.stop()
    stop = asyncio.Event()
    running = asyncio.create_task(keep(platform.kube, SETTINGS, None, stop))
    await platform.apply(sdep(predictor(graph=node(modelUri="models:/shapes@champion"))))
    status = await platform.until(lambda status: status.get("state") == "Failed", what="no registry")
    assert "models:/shapes@champion: there is no Secret slipway-system/slipway-model-st" in status["description"]
    assert not platform.registry.asked

    address = secret({"MLFLOW_TRACKING_URI": platform.address.uri})
    await platform.kube.apply(address, field_manager="external-secrets")
    status = await platform.until(lambda status: status.get("models"), what="resolved")
    assert status["models"][0]["version"] == "1"

    platform.registry.aliases["champion"] = "2"
    away = secret({"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"})
    await platform.kube.apply(away, field_manager="external-secrets")
    await platform.apply(sdep(predictor(graph=node(modelUri="models:/shapes/2"))))
    status = await platform.until(lambda status: "127.0.0.1:1" in status.get("description", ""), what="the new address")
    await platform.kube.apply(address, field_manager="external-secrets")
    await platform.until(lambda status: (status.get("models") or [{}])[0].get("version") == "2", what="back again")
    stop.set()
    await running
