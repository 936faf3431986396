"""What the platform itself needs in the API: made where it is missing, and not to be deleted with its namespace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.onebox.api.deletion import LASTING_NAMESPACES
from slipway.onebox.services.platform_objects import NAMESPACES, apply_all
from tests.onebox_api.conftest import ApiProcess, running_api

GATEWAY = ("gateway", "seldon-gateway", "-n", "istio-system")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiProcess]:
    with running_api(tmp_path / "home") as process:
        yield process


async def test_what_is_missing_is_made_and_what_is_there_left_alone(api: ApiProcess) -> None:
    await apply_all(api.paths)
    api.kubectl("delete", *GATEWAY)
    change = [{"op": "add", "path": "/metadata/labels", "value": {"whose": "mine"}}]
    api.kubectl("patch", "ns", "istio-system", "--type=json", "-p", json.dumps(change))
    before = api.kubectl("get", "ns", "istio-system", "-o", "json")

    made: list[str] = []
    await apply_all(api.paths, only_missing=True, on_applied=made.append)
    assert made == ["Gateway seldon-gateway"]
    assert "seldon-gateway" in api.kubectl("get", *GATEWAY)
    assert api.kubectl("get", "ns", "istio-system", "-o", "json") == before
    await apply_all(api.paths, only_missing=True, on_applied=made.append)
    assert len(made) == 1


async def test_the_platforms_namespaces_may_not_be_deleted(api: ApiProcess) -> None:
    await apply_all(api.paths)
    for name in NAMESPACES:
        said = api.kubectl("delete", "ns", name, "--wait=false", check=False)
        assert f'namespaces "{name}" is forbidden: this namespace may not be deleted' in said
        assert json.loads(api.kubectl("get", "ns", name, "-o", "json"))["status"]["phase"] == "Active"
    assert "seldon-gateway" in api.kubectl("get", *GATEWAY)
    api.kubectl("create", "ns", "other")
    assert "deleted" in api.kubectl("delete", "ns", "other")


def test_every_namespace_that_slipway_up_makes_lasts() -> None:
    assert set(NAMESPACES) <= set(LASTING_NAMESPACES)
