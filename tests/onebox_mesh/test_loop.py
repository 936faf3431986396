"""What the mesh does while the disk is full, and while the API does not take its events: endpoints still reach the Envoys."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from slipway.kube.client import Kube
from slipway.kube.kinds import ENDPOINT_SLICE
from slipway.onebox.mesh import loop, write
from slipway.onebox.mesh.layout import Layout
from slipway.onebox.mesh.loop import run, site
from slipway.onebox.mesh.translate import Objects
from slipway.onebox.mesh.write import Publisher
from slipway.onebox.paths import Paths
from tests.onebox_mesh.api import Api, running_api
from tests.onebox_mesh.world import endpoint_slice, virtual_service, world
from tests.ports import free_port
from tests.waiting import eventually

FIRST, SECOND = "127.20.0.1", "127.20.0.2"


def one_predictor(**route: Any) -> Objects:
    return world([virtual_service({"stable": 100}, **route)], {"stable": {FIRST: True}})


@asynccontextmanager
async def mesh(objects: Objects, home: Path) -> AsyncIterator[tuple[Api, Layout]]:
    layout = Layout(Paths(home))
    async with running_api(objects, home) as (api, kubeconfig), Kube.from_kubeconfig(kubeconfig) as kube:
        running = asyncio.create_task(run(kube, layout.paths, site("127.0.0.1", free_port())))
        try:
            await eventually(lambda: reach(layout, FIRST), what="the first endpoint")
            yield api, layout
        finally:
            running.cancel()
            (ended,) = await asyncio.gather(running, return_exceptions=True)
            layout.paths.sockets.rmdir()
    assert isinstance(ended, asyncio.CancelledError)


def reach(layout: Layout, address: str) -> bool:
    """Whether the Envoys would send requests there."""
    return layout.clusters.exists() and f'"{address}"' in json.dumps(json.loads(layout.clusters.read_text()))


async def moved(api: Api) -> None:
    """The Pod is replaced."""
    ports = {"http": 8000, "grpc": 5001}
    await api.put(ENDPOINT_SLICE, endpoint_slice("yolo-stable", ports, {SECOND: True}))


async def test_full_disk_is_survived_and_written_to_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    replace_file, refused = write.replace_file, list[Path]()

    def full(path: Path, text: str) -> bool:
        if path.name == "clusters.json" and len(refused) < 5:
            refused.append(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return replace_file(path, text)

    async with mesh(one_predictor(), tmp_path) as (api, layout):
        monkeypatch.setattr(loop, "TICK_S", 0.05)
        monkeypatch.setattr(write, "replace_file", full)
        await moved(api)
        await eventually(lambda: reach(layout, SECOND), what="the second endpoint, once there is room")
    assert refused == [layout.clusters] * 5
    assert "No space left on device" in caplog.text
    assert "what was published before stays in use" in caplog.text


async def test_api_that_takes_no_events_delays_no_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, held = asyncio.Event(), asyncio.Event()

    async def hold(_api: Api, _request: web.Request) -> web.Response:
        asked.set()
        await held.wait()
        return web.json_response({}, status=201)

    monkeypatch.setattr(Api, "_create_event", hold)
    async with mesh(one_predictor(corsPolicy={"maxAge": "1s"}), tmp_path) as (api, layout):
        async with asyncio.timeout(10):
            await asked.wait()
        await moved(api)
        await eventually(lambda: reach(layout, SECOND), what="the second endpoint")
        assert not held.is_set()
        held.set()


async def test_log_that_cannot_be_rotated_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[Publisher] = []

    async def moved_meanwhile(publisher: Publisher) -> None:
        tried.append(publisher)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "access-0.log")

    monkeypatch.setattr(Publisher, "rotate_access_logs", moved_meanwhile)
    monkeypatch.setattr(loop, "ACCESS_LOG_CHECK_S", 0.02)
    async with mesh(one_predictor(), tmp_path) as (api, layout):
        await eventually(lambda: len(tried) > 2)
        await moved(api)
        await eventually(lambda: reach(layout, SECOND), what="the second endpoint")
    assert "access logs are not rotated" in caplog.text
