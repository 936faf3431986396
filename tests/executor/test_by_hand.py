"""docs/by-hand.md, carried out: its files, its commands, its answer."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from tests.data import REPOSITORY
from tests.waiting import eventually

PAGE = (REPOSITORY / "docs" / "by-hand.md").read_text()
ADDRESS = f"127.88.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"
"""The commands have fixed ports: an address of loopback that is this process's own."""


def block(kind: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


@asynccontextmanager
async def running(command: str, folder: Path) -> AsyncIterator[None]:
    """One of the page's background commands."""
    words = shlex.split(command.removesuffix("&"))
    own = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    argv = [sys.executable, *words[len(own) + 1 :]]
    environment = {"SLIPWAY_POD_IP": ADDRESS, "PYTHONPATH": str(REPOSITORY), **own}
    process = await asyncio.create_subprocess_exec(*argv, cwd=folder, env=environment)
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def test_commands_of_the_page_give_its_answer(tmp_path: Path) -> None:
    (tmp_path / "sums.yaml").write_text(block("yaml"))
    (tmp_path / "Sums.py").write_text(block("python"))
    *commands, answer = block("console").splitlines()
    *started, ask = [command.removeprefix("$ ") for command in commands]
    *_, given, url = shlex.split(ask)
    assert len(started) == 3
    async with AsyncExitStack() as stack, aiohttp.ClientSession() as session:
        for command in started:
            await stack.enter_async_context(running(command, tmp_path))
        url = f"http://{url.replace('localhost', ADDRESS)}"

        async def answered() -> object:
            try:
                async with session.post(url, data=given, headers={"Content-Type": "application/json"}) as response:
                    return await response.json() if response.status == 200 else None
            except aiohttp.ClientError:
                return None

        assert await eventually(answered, timeout_s=40, what="the graph's answer") == json.loads(answer)
