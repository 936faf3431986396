"""Who asks under a time limit, in a loop, hears of a cancellation that comes with it: else the loop would not end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from yarl import URL

from slipway.client import AsyncClient
from slipway.executor import payload_log_sender
from slipway.executor.addresses import Addresses
from slipway.executor.graph import Endpoint, Node
from slipway.executor.metrics import ExecutorMetrics, Identity
from slipway.executor.rest_client import RestNodes
from slipway.kube.scrape import Exposition
from slipway.microservice import workers
from slipway.onebox.mesh.admin import Admin
from slipway.onebox.runner import scaling_read
from slipway.onebox.runner.probes import run_check
from slipway.onebox.runner.spec import Check
from slipway.onebox.services import mlflow_accounts, probes
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.settings import Settings
from tests.cancelling import cancel_with_its_timeout
from tests.data import REPOSITORY

LIMIT_S = 0.3
Ask = Callable[[Path, str], Coroutine[Any, Any, object]]


async def of_envoy(socket: Path, _: str) -> object:
    return await Admin(socket, timeout_s=LIMIT_S).ready()


async def of_a_service(socket: Path, _: str) -> object:
    await probes.HttpProbe("http://service/health", socket=socket).check()
    return None


async def of_a_pod(_: Path, url: str) -> object:
    async with aiohttp.ClientSession() as session:
        return await scaling_read._scrape(session, Exposition("http", url), ())


async def of_a_receiver(_: Path, url: str) -> object:
    sender = payload_log_sender.Sender(addresses=Addresses(), connections=1)
    try:
        return await sender.post(url, {}, b"{}")
    finally:
        await sender.close()


async def of_a_probe(_: Path, url: str) -> object:
    port = URL(url).port or 0
    async with aiohttp.ClientSession() as session:
        return await run_check(Check("http", port), ip="127.0.0.1", timeout_s=LIMIT_S, session=session, execute=Mock())


async def of_a_node(_: Path, url: str) -> object:
    port = URL(url).port or 0
    node = Node("m", endpoint=Endpoint("127.0.0.1", http_port=port, grpc_port=0, service_port=port))
    metrics = ExecutorMetrics(Identity("d", "p", "v"))
    nodes = RestNodes(addresses=Addresses(), metrics=metrics, timeout_s=LIMIT_S)
    return await nodes.fetch(node, "/metadata")


async def of_a_client(_: Path, url: str) -> object:
    async with AsyncClient(f"{url}seldon/default/m", timeout_s=LIMIT_S) as client:
        return await client.predict({"data": {"ndarray": [1]}})


async def of_a_worker(socket: Path, _: str) -> object:
    return await workers._scrape(socket, "/metrics")


async def of_mlflow(socket: Path, url: str) -> object:
    secrets = ensure_secrets(socket.parent / "secrets")
    return await mlflow_accounts.remove_account(Settings(mlflow_port=URL(url).port or 0), secrets, user="ada")


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[tuple[Path, str, asyncio.Event]]:
    """A Unix socket and an address where questions are heard and never answered, and whether one has come."""
    heard, over = asyncio.Event(), asyncio.Event()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        heard.set()
        await over.wait()
        writer.close()

    path = tmp_path / "deaf.sock"
    async with await asyncio.start_unix_server(hear, path), await asyncio.start_server(hear, "127.0.0.1") as server:
        yield path, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", heard
        over.set()


@pytest.mark.parametrize(
    "ask",
    [
        of_envoy,
        of_a_service,
        of_a_pod,
        of_a_receiver,
        of_a_probe,
        of_a_node,
        of_a_client,
        of_a_worker,
        of_mlflow,
    ],
)
async def test_cancellation_that_comes_with_the_limit_is_heard(
    asked: tuple[Path, str, asyncio.Event], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "PROBE_TIMEOUT_S", LIMIT_S)
    monkeypatch.setattr(scaling_read, "SCRAPE_TIMEOUT_S", LIMIT_S)
    monkeypatch.setattr(workers, "SCRAPE_TIMEOUT_S", LIMIT_S)
    monkeypatch.setattr(mlflow_accounts, "TIMEOUT_S", LIMIT_S)
    monkeypatch.setattr(payload_log_sender, "LOG_DELIVERY_TIMEOUT_S", LIMIT_S)
    path, url, heard = asked
    task = asyncio.create_task(ask(path, url))
    await heard.wait()
    await cancel_with_its_timeout(task, limit_s=LIMIT_S)


def test_no_client_has_a_limit_of_aiohttps_own() -> None:
    """Whoever adds one reads above why; asyncio.timeout() around the request is the same without the loss."""
    found = [
        f"{path.relative_to(REPOSITORY)}: {words}"
        for path in sorted((REPOSITORY / "slipway").rglob("*.py"))
        for words in re.findall(r"ClientTimeout\(([^)]*)\)", path.read_text())
    ]
    assert len(found) > 5
    assert [words for words in found if "total=None" not in words] == []
