"""One worker after the other: a successor serves before the one that it replaces leaves, so that no request is lost."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slipway.microservice.restart import Workers
from slipway.microservice.worker import LEAVE, METRICS_SOCKET, NUMBER, SERVES, SPENT, WORDS
from slipway.serving.lifecycle import Lifecycle

logger = logging.getLogger(__name__)


@dataclass
class Running:
    """A worker process."""

    process: asyncio.subprocess.Process
    metrics_socket: Path
    writer: asyncio.StreamWriter
    serves: asyncio.Event = field(default_factory=asyncio.Event)
    """It has served once."""
    is_spent: asyncio.Event = field(default_factory=asyncio.Event)
    """It has had its requests."""
    _listening: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, command: Sequence[str], index: int, metrics_socket: Path) -> Running:
        ours, theirs = socket.socketpair()
        with theirs:
            environment = {**os.environ, NUMBER: str(index), METRICS_SOCKET: str(metrics_socket)}
            process = await asyncio.create_subprocess_exec(*command, stdin=theirs.fileno(), env=environment)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        one = cls(process, metrics_socket, writer)
        one._listening = asyncio.create_task(one._listen(reader))
        return one

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while said := await reader.read(WORDS):
                if SERVES in said:
                    self.serves.set()
                if SPENT in said:
                    self.is_spent.set()
        except ConnectionError as exc:
            logger.debug("worker pid %d hung up: %s", self.process.pid, exc)

    def leave(self) -> None:
        """Its connections end, and then it."""
        self.writer.write(LEAVE)

    async def ended(self) -> int:
        """Its exit code, once it has one."""
        code = await self.process.wait()
        self.writer.close()
        self.metrics_socket.unlink(missing_ok=True)
        return code

    async def stop(self) -> int:
        """The exit code of a worker that is told to end now."""
        self.writer.close()
        return await self.ended()


class Keeper:
    """Keeps one worker running."""

    def __init__(
        self, command: Sequence[str], index: int, folder: Path, lifecycle: Lifecycle, workers: Workers
    ) -> None:
        self._command, self._index, self._folder = command, index, folder
        self._lifecycle, self._workers = lifecycle, workers
        self._starts = 0
        self._leaving: set[asyncio.Task[int]] = set()

    async def keep(self) -> int:
        """Until a stop is asked for: 0; or the code of a worker that ended before it ever served, which asks for a stop."""
        current = await self._start()
        code: int | None = None
        while code is None:
            self._workers.running[self._index] = (current.metrics_socket, current.process)
            await _first(current.ended(), current.is_spent.wait(), self._lifecycle.stop_asked.wait())
            if self._lifecycle.stop_asked.is_set():
                await current.stop()
                code = 0
            elif current.process.returncode is None:
                current = await self._succeeded(current)
            elif current.process.returncode and not current.serves.is_set():
                self._lifecycle.stop_asked.set()
                code = max(current.process.returncode, 1)
            else:
                logger.warning("worker %d (pid %d) ended with %d", self._index, *_facts(current))
                current = await self._start()
        await asyncio.gather(*self._leaving)
        return code

    async def _start(self) -> Running:
        self._starts += 1
        path = self._folder / f"{self._index}.{self._starts}.sock"
        return await Running.start(self._command, self._index, path)

    async def _succeeded(self, spent: Running) -> Running:
        """The worker that goes on: the successor once it serves, else the one that is spent. None serves less meanwhile."""
        spent.is_spent.clear()
        new = await self._start()
        await _first(new.ended(), new.serves.wait(), spent.ended(), self._lifecycle.stop_asked.wait())
        if new.process.returncode is not None:
            logger.error("worker %d: its successor (pid %d) ended with %d; it stays", self._index, *_facts(new))
            return spent
        if self._lifecycle.stop_asked.is_set():
            await new.stop()
            return spent
        if spent.process.returncode is None:
            spent.leave()
            self._leaving.add(leaving := asyncio.create_task(self._left(spent)))
            leaving.add_done_callback(self._leaving.discard)
        return new

    async def _left(self, spent: Running) -> int:
        await _first(spent.ended(), self._lifecycle.stop_asked.wait())
        return await spent.stop()


def _facts(one: Running) -> tuple[int, int | None]:
    return one.process.pid, one.process.returncode


async def _first(*events: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(event) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
