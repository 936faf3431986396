"""Envoy itself takes the gateway's configuration, and brings a request to the Pod."""

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from scripts.compose import GATEWAY_PORT, HOME, POD_ADDRESS, SOCKET, gateway_arguments
from slipway.contract.limits import MAX_BODY_BYTES, MAX_PHOTO_BYTES
from slipway.onebox.mesh.bootstrap import envoy_binary
from tests.compose.files import services, words
from tests.data import REPOSITORY
from tests.ports import free_port
from tests.waiting import eventually

PAGE = REPOSITORY / "slipway" / "onebox" / "mesh" / "page" / "index.html"


def installed(folder: Path, *, port: int, pod_port: int) -> list[str]:
    """The container's files at another place, with free ports: the words for Envoy."""
    changes = {
        str(HOME): str(folder),
        SOCKET: str(folder / "a.sock"),
        f'"address": "0.0.0.0", "port_value": {GATEWAY_PORT}': f'"address": "127.0.0.1", "port_value": {port}',
        f'"address": "{POD_ADDRESS}", "port_value": 8000': f'"address": "127.0.0.1", "port_value": {pod_port}',
    }
    found: set[str] = set()
    (folder / "mesh").mkdir()
    shutil.copyfile(PAGE, folder / "page.html")
    for path in (REPOSITORY / "compose" / "mesh").iterdir():
        text = path.read_text()
        for old, new in changes.items():
            found |= {old} if old in text else set()
            text = text.replace(old, new)
        (folder / "mesh" / path.name).write_text(text)
    assert found == changes.keys()
    return [str(envoy_binary()), *(word.replace(str(HOME), str(folder)) for word in gateway_arguments())]


def test_envoy_takes_the_configuration(tmp_path: Path) -> None:
    argv = installed(tmp_path, port=free_port(), pod_port=free_port())
    done = subprocess.run([*argv, "--mode", "validate"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a running one, before an executor that says what it was asked."""

    async def executor(request: web.Request) -> web.Response:
        return web.json_response({"path": request.path, "bytes": len(await request.read())})

    app = web.Application(client_max_size=2 * MAX_BODY_BYTES)
    app.router.add_route("*", "/{tail:.*}", executor)
    async with TestServer(app) as pod:
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            *installed(tmp_path, port=port, pod_port=pod.port or 0), stdout=asyncio.subprocess.PIPE
        )
        try:
            await _answers(f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            await process.communicate()


async def _answers(url: str) -> None:
    async def page() -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    await eventually(page, what="the page of the gateway")


async def test_its_health_is_asked_as_compose_asks(gateway: str) -> None:
    port = gateway.rpartition(":")[2]
    kind, *asked = words(services()["gateway"]["healthcheck"], "test")
    assert kind == "CMD"

    async def ask(port: str) -> int | None:
        at_port = [word.replace(f"/{GATEWAY_PORT} ", f"/{port} ") for word in asked]
        process = await asyncio.create_subprocess_exec(*at_port, stderr=asyncio.subprocess.DEVNULL)
        return await process.wait()

    assert await ask(port) == 0
    assert await ask(str(free_port())) != 0


async def test_a_photo_goes_to_the_pod_and_a_larger_one_is_refused(gateway: str) -> None:
    url = f"{gateway}/seldon/default/yolo/api/v1.0/predictions"
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data=io.BytesIO(b"x" * MAX_PHOTO_BYTES)) as answer:
            assert answer.status == 200
            assert await answer.json() == {"path": "/api/v1.0/predictions", "bytes": MAX_PHOTO_BYTES}
        async with session.post(url, data=io.BytesIO(b"x" * (MAX_BODY_BYTES + 1))) as answer:
            assert answer.status == 413
            assert answer.headers["x-slipway-reason"] == "PAYLOAD_TOO_LARGE"
        async with session.get(f"{gateway}/seldon/default/other/api/v1.0/predictions") as answer:
            assert answer.status == 404
