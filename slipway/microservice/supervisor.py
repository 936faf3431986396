"""One worker after the other: a successor serves before the one that it replaces leaves, so that no request is lost.

Both accept at one listener, which is the supervisor's: what the kernel accepted for the one, the other answers. Each worker
has a listener of its own on the shared port, as the kernel shares connections out evenly among listeners; where a worker
ended by itself its listener ends too, or clients would wait at it until another one has loaded the model.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slipway.microservice.worker import LEAVE, LISTENER, METRICS_SOCKET, NUMBER, SERVES, SPENT, WORDS
from slipway.serving.lifecycle import Lifecycle

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
"""Before another worker for one that left without having served: the first pause, doubled each time up to the longest."""
Listen = Callable[[], socket.socket]
"""A new socket that is bound to the shared port."""

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
    """It has had its requests, or is to be replaced for another reason."""
    _listening: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, command: Sequence[str], index: int, metrics_socket: Path, listener: socket.socket) -> Running:
        ours, theirs = socket.socketpair()
        with theirs:
            handed = {NUMBER: str(index), METRICS_SOCKET: str(metrics_socket), LISTENER: str(listener.fileno())}
            process = await asyncio.create_subprocess_exec(
                *command, stdin=theirs.fileno(), env={**os.environ, **handed}, pass_fds=(listener.fileno(),)
            )
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

    def __init__(self, command: Sequence[str], index: int, folder: Path, lifecycle: Lifecycle, listen: Listen) -> None:
        self._command, self._index, self._folder = command, index, folder
        self._lifecycle, self._listen = lifecycle, listen
        self._listener = listen()
        self._starts = 0
        self._unserved = 0
        self._current: Running | None = None
        self._goes_on = asyncio.Event()
        self._leaving: set[asyncio.Task[int]] = set()

    @property
    def metrics_socket(self) -> Path | None:
        """Of the worker that runs; None before the first one does."""
        return self._current.metrics_socket if self._current else None

    async def renew(self) -> None:
        """A successor for the worker, as if it had had its requests; until one of the two goes on."""
        if self._current is not None:
            self._goes_on.clear()
            self._current.is_spent.set()
            await _first(self._goes_on.wait(), self._lifecycle.stop_asked.wait())

    async def keep(self) -> int:
        """Until a stop is asked for: 0; or the code of a worker that ended before it ever served, which asks for a stop."""
        current = await self._start()
        code: int | None = None
        while code is None:
            self._current = current
            self._goes_on.set()
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
                await self._pause_after(current)
                self._listener = self._listen()
                current = await self._start()
        self._listener.close()
        await asyncio.gather(*self._leaving)
        return code

    async def _pause_after(self, ended: Running) -> None:
        """Nobody listens meanwhile. One that had served has its like at once."""
        self._listener.close()
        self._unserved = 0 if ended.serves.is_set() else self._unserved + 1
        if not self._unserved:
            logger.warning("worker %d (pid %d) ended with %d", self._index, *_facts(ended))
            return
        pause_s = pause_after(self._unserved)
        text = "worker %d (pid %d) ended with %d before it served: another one starts in %g s"
        logger.warning(text, self._index, *_facts(ended), pause_s)
        await _first(asyncio.sleep(pause_s), self._lifecycle.stop_asked.wait())

    async def _start(self) -> Running:
        self._starts += 1
        path = self._folder / f"{self._index}.{self._starts}.sock"
        return await Running.start(self._command, self._index, path, self._listener)

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
        elif not new.serves.is_set():
            logger.warning("worker %d (pid %d) ended with %d while its successor loads", self._index, *_facts(spent))
            await self._turn_away_until_served(new)
        return new

    async def _turn_away_until_served(self, new: Running) -> None:
        """Clients would wait at the listener that ``new`` has already: it takes none until ``new`` listens there itself."""
        self._listener.shutdown(socket.SHUT_RD)
        await _first(new.ended(), new.serves.wait(), self._lifecycle.stop_asked.wait())
        if new.serves.is_set() and not self._listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            await new.stop()  # it had listened in the moment before

    async def _left(self, spent: Running) -> int:
        await _first(spent.ended(), self._lifecycle.stop_asked.wait())
        return await spent.stop()


def pause_after(unserved: int) -> float:
    """Seconds before another worker where so many in a row, one at least, ended before they served."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(unserved - 1, 10))


def _facts(one: Running) -> tuple[int, int | None]:
    return one.process.pid, one.process.returncode


async def _first(*events: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(event) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
