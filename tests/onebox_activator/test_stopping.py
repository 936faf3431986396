"""The activator is asked to stop while requests wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
from aiohttp import web
from aiohttp.test_utils import RawTestServer, TestServer

from slipway.kube.client import Kube
from slipway.kube.kinds import DEPLOYMENT, ENDPOINT_SLICE, SERVICE, Kind
from slipway.kube.kubeconfig import Access
from slipway.kube.reflector import Reflector
from slipway.onebox.activator.__main__ import FOLLOWED, activated
from slipway.onebox.activator.hold import Hold
from slipway.onebox.api.__main__ import make_parts
from slipway.onebox.api.server import make_app
from slipway.onebox.mesh.layout import Layout
from slipway.onebox.paths import Paths
from tests.waiting import eventually

TOKEN = "t" * 32
LABELS = {"app": "yolo"}


async def put(kube: Kube, kind: Kind, **obj: Any) -> None:
    meta = {"name": "yolo", "namespace": "default", "labels": {"kubernetes.io/service-name": "yolo"}}
    whole = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta, **obj}
    await kube.apply(whole, field_manager="test")


async def put_resting(kube: Kube) -> None:
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}}
    await put(kube, DEPLOYMENT, spec={"replicas": 0, "selector": {"matchLabels": LABELS}, "template": template})
    await put(kube, SERVICE, spec={"selector": LABELS, "ports": [{"name": "http", "port": 8000}]})


async def put_ready(kube: Kube, port: int) -> None:
    await kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "yolo-0", "namespace": "default", "labels": LABELS},
            "spec": {"containers": [{"name": "c", "image": "x:1"}]},
        },
        field_manager="test",
    )
    target = {"kind": "Pod", "namespace": "default", "name": "yolo-0"}
    endpoint = {"addresses": ["127.0.0.1"], "conditions": {"ready": True}, "targetRef": target}
    ports = [{"name": "http", "port": port, "protocol": "TCP"}]
    await put(kube, ENDPOINT_SLICE, addressType="IPv4", ports=ports, endpoints=[endpoint])


async def ask(layout: Layout) -> tuple[int, str]:
    connector = aiohttp.UnixConnector(str(layout.activator_socket("http")))
    headers = {"x-slipway-wakes": "default/yolo/yolo/8000"}
    async with (
        aiohttp.ClientSession(connector=connector) as client,
        client.post("http://activator/x", data=b"1", headers=headers) as answer,
    ):
        return answer.status, await answer.text()


@asynccontextmanager
async def pod() -> AsyncIterator[int]:
    """Its port; it says what it is told."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(text=await request.text())

    async with RawTestServer(answer) as server:
        yield cast(int, server.port)


async def run(kube: Kube, layout: Layout, may_stop: asyncio.Event, begun: asyncio.Future[Hold]) -> None:
    async with activated(kube, Reflector(kube, FOLLOWED), layout) as hold:
        begun.set_result(hold)
        await may_stop.wait()


async def test_request_that_waits_when_the_activator_stops_is_answered_if_its_pod_comes_meanwhile(
    tmp_path: Path,
) -> None:
    layout = Layout(Paths(tmp_path))
    layout.paths.sockets.mkdir(parents=True, exist_ok=True)
    parts = make_parts(Paths(tmp_path), admin_token=TOKEN, admission={})
    may_stop, begun = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with (
        TestServer(make_app(parts)) as api,
        pod() as port,
        Kube(Access(str(api.make_url("/")).rstrip("/"), token=TOKEN)) as kube,
        asyncio.TaskGroup() as tasks,
    ):
        await put_resting(kube)
        tasks.create_task(run(kube, layout, may_stop, begun))
        hold = await begun
        asked = tasks.create_task(ask(layout))
        await eventually(lambda: hold.held.counts.total() == 1)
        may_stop.set()
        await eventually(lambda: not layout.activator_socket("grpc").exists(), what="the drain")
        await put_ready(kube, port)
        assert await asked == (200, "1")
    parts.objects.store.close()
    layout.paths.sockets.rmdir()
