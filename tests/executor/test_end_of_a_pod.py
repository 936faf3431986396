"""A Pod as a kubelet ends it: SIGTERM to executor and components at once."""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slipway.serving.limits import DRAIN_S
from tests.data import REPOSITORY
from tests.executor.graphs import predictor_of
from tests.waiting import eventually

COMPONENTS = '''
from pathlib import Path
from tests.waiting import wait_until


class Slow:
    """Says that it has a request, and holds it until the test says so."""

    def transform_input(self, X, names=None, meta=None):
        Path("arrived").touch()
        wait_until(Path("go-on").exists, timeout_s=40)
        return X


class Quick:
    def predict(self, X, names=None, meta=None):
        return X
'''
EXECUTOR_DRAIN_S = 4 * DRAIN_S
"""Longer than what a component does by itself."""
PORT = re.compile(r"REST (?:on port |\S*:)(\d+)")


@dataclass
class Pod:
    url: str
    processes: list[asyncio.subprocess.Process]

    async def ask(self, verb: str, path: str) -> int:
        headers = {"Content-Type": "application/json"}
        async with aiohttp.request(verb, self.url + path, data=b'{"data":{"ndarray":[1]}}', headers=headers) as answer:
            return answer.status

    async def predict(self) -> int:
        return await self.ask("POST", "/api/v1.0/predictions")

    async def is_ready(self) -> bool:
        return await self.ask("GET", "/ready") == 200

    async def is_unready(self) -> bool:
        return not await self.is_ready()

    async def is_closed(self) -> bool:
        try:
            await self.ask("GET", "/live")
        except aiohttp.ClientConnectionError:
            return True
        return False


@asynccontextmanager
async def process(module: str, *argv: str, folder: Path, ip: str) -> AsyncIterator[tuple[Any, int]]:
    """A server of ours and its REST port."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *argv, cwd=folder, stderr=asyncio.subprocess.PIPE,
        env={"SLIPWAY_POD_IP": ip, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert started.stderr is not None
    reading = None
    try:
        found = None
        while found is None:
            line = (await asyncio.wait_for(started.stderr.readline(), 30)).decode()
            assert line, f"{module} ended before it served"
            found = PORT.search(line)
        reading = asyncio.create_task(started.stderr.read())
        yield started, int(found[1])
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()
        if reading is not None:
            await reading


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    """A slow transformer before a quick model, in an address of their own."""
    (tmp_path / "components.py").write_text(COMPONENTS)
    chance = random.SystemRandom()
    ip = f"127.{chance.randrange(1, 64)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"
    async with AsyncExitStack() as stack:
        ports, processes = [], []
        for name in ("components.Slow", "components.Quick"):
            free = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
            one = process("slipway.microservice", name, *free, folder=tmp_path, ip=ip)
            started, port = await stack.enter_async_context(one)
            ports.append({"service_host": "localhost", "service_port": port, "httpPort": port, "grpcPort": 1})
            processes.append(started)
        quick = {"name": "quick", "type": "MODEL", "endpoint": ports[1]}
        graph = {"name": "slow", "type": "TRANSFORMER", "endpoint": ports[0], "children": [quick]}
        (tmp_path / "predictor.json").write_text(json.dumps(predictor_of(graph)))
        argv = ("--http_port", "0", "--grpc_port", "0", "--predictor-file", "predictor.json")
        drain = ("--shutdown_delay", f"{EXECUTOR_DRAIN_S}s")
        started, port = await stack.enter_async_context(
            process("slipway.executor", *argv, *drain, folder=tmp_path, ip=ip)
        )
        made = Pod(f"http://{ip}:{port}", [started, *processes])
        await eventually(made.is_ready)
        yield made


async def test_pod_that_ends_at_once_loses_nothing_under_way_and_nothing_that_comes_in_its_drain(
    pod: Pod, tmp_path: Path
) -> None:
    begun = asyncio.create_task(pod.predict())
    await eventually((tmp_path / "arrived").exists)
    for one in pod.processes:
        one.terminate()
    await eventually(pod.is_unready)
    late = asyncio.create_task(pod.predict())
    await eventually(pod.is_closed)  # long after the drain that components have of their own
    (tmp_path / "go-on").touch()
    assert (await begun, await late) == (200, 200)
    assert await asyncio.wait_for(asyncio.gather(*(one.wait() for one in pod.processes)), 20) == [0, 0, 0]


async def test_component_that_ends_alone_does_not_wait_for_an_executor_that_stays(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "go-on").touch()
    executor, _, quick = pod.processes
    quick.terminate()
    assert await asyncio.wait_for(quick.wait(), 20) == 0
    assert executor.returncode is None
