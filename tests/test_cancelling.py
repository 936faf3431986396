"""Who asks under a time limit, in a loop, hears of a cancellation that comes with it: else the loop would not end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slipway.executor import payload_log_sender
from slipway.executor.addresses import Addresses
from slipway.kube.scrape import Exposition
from slipway.onebox.mesh.admin import Admin
from slipway.onebox.runner import scaling_read
from slipway.onebox.services import probes
from tests.cancelling import cancel_with_its_timeout

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


@pytest.mark.parametrize("ask", [of_envoy, of_a_service, of_a_pod, of_a_receiver])
async def test_cancellation_that_comes_with_the_limit_is_heard(
    asked: tuple[Path, str, asyncio.Event], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "PROBE_TIMEOUT_S", LIMIT_S)
    monkeypatch.setattr(scaling_read, "SCRAPE_TIMEOUT_S", LIMIT_S)
    monkeypatch.setattr(payload_log_sender, "LOG_DELIVERY_TIMEOUT_S", LIMIT_S)
    path, url, heard = asked
    task = asyncio.create_task(ask(path, url))
    await heard.wait()
    await cancel_with_its_timeout(task, limit_s=LIMIT_S)
