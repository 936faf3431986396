"""The executor as a process: start, follow the predictor file, drain on SIGTERM."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.data import REPOSITORY
from tests.executor.graphs import predictor_of
from tests.executor.nodes import Node, Reply, Seen, serving
from tests.waiting import eventually


class Process:
    def __init__(self, process: asyncio.subprocess.Process, url: str, log: list[str]) -> None:
        self.process, self.url, self.log = process, url, log

    async def ask(self, verb: str, path: str, **options: Any) -> tuple[int, bytes]:
        async with aiohttp.request(verb, self.url + path, **options) as response:
            return response.status, await response.read()

    async def is_ready(self) -> bool:
        return (await self.ask("GET", "/ready"))[0] == 200

    async def predict(self) -> tuple[int, bytes]:
        return await self.ask("POST", "/api/v1.0/predictions", data=b"{}", headers={"Content-Type": "application/json"})


@asynccontextmanager
async def started(*argv: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "slipway.executor", "--http_port", "0", "--grpc_port", "0", *argv,
        env={"SLIPWAY_POD_IP": "127.0.0.1", **(environment or {})}, cwd=REPOSITORY, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    log: list[str] = []
    reading = None
    try:
        port = None
        while port is None:
            line = (await asyncio.wait_for(process.stderr.readline(), 20)).decode()
            assert line, f"the executor ended: {log}"
            log.append(line)
            port = re.search(r"REST on port (\d+)", line)
        reading = asyncio.create_task(_read(process.stderr, log))
        yield Process(process, f"http://127.0.0.1:{port[1]}", log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if reading is not None:
            await reading


async def _read(stream: asyncio.StreamReader, log: list[str]) -> None:
    while line := await stream.readline():
        log.append(line.decode())


def write(path: Path, graph: dict[str, Any] | None, text: str = "") -> None:
    """As the kubelet does it: a new file under the old name."""
    new = path.with_suffix(".new")
    new.write_text(text if graph is None else json.dumps(predictor_of(graph)))
    new.rename(path)


async def test_predictor_file_is_followed_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    first, second, path = Node("a"), Node("b"), tmp_path / "predictor.json"
    second.rest = lambda _: Reply(b'{"strData":"second"}')
    async with serving(first, second):
        write(path, first.graph("MODEL"))
        async with started("--predictor-file", str(path)) as process:
            await eventually(process.is_ready)
            assert (await process.predict())[0] == 200
            write(path, None, "{ broken")
            await eventually(lambda: any("the old graph stays" in line for line in process.log))
            assert (await process.predict())[0] == 200
            write(path, {"name": "nowhere", "type": "MODEL"})
            await eventually(lambda: any("until its nodes answer" in line for line in process.log))
            assert (await process.predict())[0] == 200
            write(path, second.graph("MODEL"))

            async def changed() -> bool:
                return await process.predict() == (200, b'{"strData":"second"}')

            await eventually(changed)


async def test_sigterm_drains_and_ends_with_status_0(tmp_path: Path) -> None:
    node, path = Node("a"), tmp_path / "predictor.json"
    arrived, release = asyncio.Event(), asyncio.Event()

    async def slow(_: Seen) -> Reply:
        arrived.set()
        await release.wait()
        return Reply(b'{"strData":"late"}')

    async with serving(node):
        write(path, node.graph("MODEL"))
        async with started("--predictor-file", str(path), "--shutdown_delay", "1s") as process:
            await eventually(process.is_ready)
            node.rest = slow
            under_way = asyncio.create_task(process.predict())
            await asyncio.wait_for(arrived.wait(), 5)
            process.process.send_signal(signal.SIGTERM)

            async def not_ready() -> bool:
                return not await process.is_ready()

            await eventually(not_ready)
            node.rest = lambda _: Reply()
            assert (await process.predict())[0] == 200
            release.set()
            assert await under_way == (200, b'{"strData":"late"}')
            assert await asyncio.wait_for(process.process.wait(), 10) == 0


async def run_to_the_end(*argv: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "slipway.executor", *argv, cwd=REPOSITORY, env=environment,
        stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode or 0, (out + error).decode()


async def test_help_has_examples() -> None:
    code, text = await run_to_the_end("--help")
    assert code == 0
    assert "python -m slipway.executor --sdep yolo" in text


async def test_start_without_a_predictor_is_one_line(tmp_path: Path) -> None:
    code, text = await run_to_the_end("--predictor-file", str(tmp_path / "none"))
    assert code == 1
    assert text == f"slipway.executor: {tmp_path}/none: No such file or directory\n"


async def test_taken_port_is_named() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        predictor = base64.b64encode(json.dumps(predictor_of({"name": "a", "type": "MODEL"})).encode()).decode()
        code, text = await run_to_the_end(
            "--http_port", str(port), ENGINE_PREDICTOR=predictor, SLIPWAY_POD_IP="127.0.0.1"
        )
    assert code == 1
    assert f"127.0.0.1:{port}" in text
