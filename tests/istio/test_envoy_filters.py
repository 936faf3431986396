"""The EnvoyFilters of istio/: the numbers of one machine, and a real Envoy that takes them and does what they say."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from scripts import envoy_filters
from slipway.contract.errors import component_error
from slipway.contract.limits import MAX_BODY_BYTES, MAX_PHOTO_BYTES
from slipway.onebox.mesh import limits
from slipway.onebox.mesh.bootstrap import envoy_binary
from slipway.onebox.mesh.replies import BODY_TOO_LARGE, PAYLOAD_TOO_LARGE
from tests.data import REPOSITORY
from tests.istio.patching import gateway, patched
from tests.manifests.kustomizations import built
from tests.onebox_mesh.upstreams import Upstreams, running_upstreams
from tests.ports import free_ports
from tests.waiting import eventually

Object = dict[str, Any]
COMPONENTS = REPOSITORY / "istio" / "components"
OVERLAY = REPOSITORY / "istio" / "overlays" / "public"
RATE_LIMIT = "slipway-rate-limit"
PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"
START_S, PATIENCE_S, VALIDATE_S = 20.0, 30.0, 30.0


def filters(*, but: str = "") -> list[Object]:
    return [item for item in built(OVERLAY) if item["kind"] == "EnvoyFilter" and item["metadata"]["name"] != but]


def validate(folder: Path, bootstrap: Object) -> str:
    """What Envoy has against it; empty for nothing."""
    config = folder / "envoy.json"
    config.write_text(json.dumps(bootstrap))
    argv = [envoy_binary(), "--config-path", config, "--mode", "validate", "--disable-hot-restart", "-l", "warning"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=VALIDATE_S, check=False)
    return done.stderr if done.returncode or "warning" in done.stderr else ""


@pytest.mark.parametrize("name", sorted(envoy_filters.render()))
def test_file_is_what_the_numbers_of_one_machine_make(name):
    text = (COMPONENTS / "gateway" / name).read_text()
    assert text == envoy_filters.render()[name], "run python -m scripts.envoy_filters"


def test_buffers_are_derived_from_the_one_body_limit():
    text = (COMPONENTS / "gateway" / "limits.yaml").read_text()
    assert f"max_request_bytes: {MAX_BODY_BYTES}\n" in text
    for name in ("limits.yaml", "sidecars.yaml"):
        assert (
            f"request_body_buffer_limit: {limits.RETRY_BUFFER_BYTES}\n" in (COMPONENTS / "gateway" / name).read_text()
        )
    assert limits.RETRY_BUFFER_BYTES >= 2 * MAX_BODY_BYTES


@pytest.mark.parametrize("context", ["GATEWAY", "SIDECAR_OUTBOUND"])
def test_envoy_takes_every_patch(tmp_path, context):
    plain = gateway(8080, ("127.0.0.1", 8000), admin=str(tmp_path / "admin"))
    found = patched(plain, filters(), context=context)
    assert found != plain
    assert validate(tmp_path, found) == ""


def test_envoy_refuses_a_patch_with_a_field_that_it_does_not_know(tmp_path):
    changed = deepcopy(filters())
    (limit,) = (item for item in changed if item["metadata"]["name"] == RATE_LIMIT)
    limit["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]["token_buckett"] = {}
    plain = gateway(8080, ("127.0.0.1", 8000), admin=str(tmp_path / "admin"))
    assert "token_buckett" in validate(tmp_path, patched(plain, changed))


@asynccontextmanager
async def running(folder: Path, upstreams: Upstreams, envoy: list[Object]) -> AsyncIterator[str]:
    """A gateway with these filters, and its URL."""
    (port,) = free_ports(1)
    endpoints = [(member.address, upstreams.ports["http"]) for member in upstreams.members]
    config = folder / "envoy.yaml"
    config.write_text(yaml.safe_dump(patched(gateway(port, *endpoints, admin=str(folder / "admin")), envoy)))
    argv = [envoy_binary(), "--config-path", config, "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
    with (folder / "envoy.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(*argv, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(PATIENCE_S)) as session:
            await eventually(lambda: _answers(session), timeout_s=START_S, what="the gateway")
        yield url
    finally:
        process.kill()
        await process.wait()


async def _answers(session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get("/nowhere") as response:
            return response.status == 404
    except aiohttp.ClientConnectionError:
        return False


async def _chunks(size: int) -> AsyncIterator[bytes]:
    """A body that announces no length."""
    for _ in range(size // 65_536):
        yield bytes(65_536)


@pytest.mark.e2e
async def test_gateway_limits_strips_and_answers_as_that_of_one_machine(tmp_path):
    async with (
        running_upstreams(stable=1) as upstreams,
        running(tmp_path, upstreams, filters(but=RATE_LIMIT)) as url,
        aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(PATIENCE_S)) as session,
    ):
        (member,) = upstreams.members
        theirs = {"x-slipway-predictor": "canary", "X-Slipway-Wakes": "a/b/c/80", "x-user": "ada"}
        async with session.post(PREDICTIONS, data=BytesIO(bytes(MAX_PHOTO_BYTES)), headers=theirs) as response:
            assert response.status == 200
        ((_, size, seen),) = member.seen
        assert size == MAX_PHOTO_BYTES
        assert not [name for name in seen if name.startswith("x-slipway-")]
        assert seen["x-user"] == "ada"
        for body in (BytesIO(bytes(MAX_BODY_BYTES + 1)), _chunks(MAX_BODY_BYTES + 65_536)):
            async with session.post(PREDICTIONS, data=body) as response:
                said = (response.status, response.headers["x-slipway-reason"], await response.json())
            assert said == (413, PAYLOAD_TOO_LARGE, component_error(PAYLOAD_TOO_LARGE, BODY_TOO_LARGE))
        async with session.get("/nowhere") as response:
            assert response.headers["x-slipway-reason"] == "ROUTE_NOT_FOUND"
            assert (await response.json())["status"]["reason"] == "ROUTE_NOT_FOUND"
        assert len(member.seen) == 1


@pytest.mark.e2e
@pytest.mark.parametrize(("has_filters", "tries"), [(True, 3), (False, 1)])
async def test_a_photo_of_8_mib_is_tried_again_only_with_the_buffers(tmp_path, has_filters, tries):
    """Without them a client meets the first error of a replica: Envoy keeps 1 MiB, and says nothing."""
    async with (
        running_upstreams(stable=1) as upstreams,
        running(tmp_path, upstreams, filters(but=RATE_LIMIT) if has_filters else []) as url,
        aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(PATIENCE_S)) as session,
    ):
        (member,) = upstreams.members
        member.behave = "503"
        async with session.post(PREDICTIONS, data=BytesIO(bytes(MAX_PHOTO_BYTES))) as response:
            assert response.status == 503
        assert [size for _, size, _ in member.seen] == [MAX_PHOTO_BYTES] * tries


@pytest.mark.e2e
async def test_above_the_rate_a_request_is_429_before_its_body_is_read(tmp_path):
    few = deepcopy(filters())
    (limit,) = (item for item in few if item["metadata"]["name"] == RATE_LIMIT)
    config = limit["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]
    config["descriptors"][0]["token_bucket"] = {"max_tokens": 3, "tokens_per_fill": 3, "fill_interval": "3600s"}
    async with (
        running_upstreams(stable=1) as upstreams,
        running(tmp_path, upstreams, few) as url,
        aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(PATIENCE_S)) as session,
    ):
        said = []
        by_headers = (
            "/seldon.protos.Seldon/Predict",
            {"seldon": "yolo", "namespace": "default"},
        )  # as gRPC calls say it
        for path, headers in ((PREDICTIONS, {}), by_headers, (PREDICTIONS, {}), (PREDICTIONS, {}), by_headers):
            async with session.post(path, data=b"{}", headers=headers) as response:
                said.append((response.status, response.headers.get("x-slipway-reason")))
        assert said[:3] == [(200, None), (404, "ROUTE_NOT_FOUND"), (200, None)]  # this gateway has no route for gRPC
        assert said[3:] == [(429, "RATE_LIMITED")] * 2
        async with session.get("/nowhere") as response:  # of the whole there are tokens left
            assert response.status == 404
        assert len(upstreams.members[0].seen) == 2
