"""Sends photos and says what came back: a process of its own, so that nobody else's work delays its clock.

One line on standard input is the order; its end is the wish to stop. Each reply is a line on standard output, up to REPORT_S
after it came, and the last line is what the generator itself cost. Latencies count from when a request was due, so that a
stall delays none of those behind it out of the statistics ("coordinated omission").
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from slipway.contract import headers
from slipway.drill.order import Order
from slipway.drill.post import Poster
from slipway.drill.reply import LATE, Effort, Reply, parse_detections
from slipway.serving.http_client import NoConnection

FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.2
"""Between two tries of a request whose connection broke."""
ERROR_CHARS = 300
REPORT_S = 0.05
"""Replies are told together: each write wakes the process that reads them."""
MAX_UNDER_WAY = 20_000
"""Requests that wait for their answers; more is a rate that this machine cannot generate."""


class Report:
    """Lines on standard output."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def add(self, line: bytes) -> None:
        """Write it within REPORT_S."""
        if not self._lines:
            asyncio.get_running_loop().call_later(REPORT_S, self.write)
        self._lines.append(line)

    def write(self) -> None:
        """Write what there is."""
        sys.stdout.buffer.write(b"".join(self._lines))
        sys.stdout.buffer.flush()
        self._lines.clear()


class Generator:
    """Carries out one order."""

    def __init__(self, order: Order, poster: Poster, stop: asyncio.Event, report: Report) -> None:
        self._order, self._poster, self._stop, self._report = order, poster, stop, report
        self._photos = [Path(name).read_bytes() for name in order.photos]
        self._late_s = 0.0
        self._sent = 0

    async def run(self) -> float:
        """Until the order is done or its giver says stop; by how many seconds the loop was late at worst."""
        async with asyncio.TaskGroup() as group:
            if self._order.rate:
                await self._open_loop(group)
            else:
                for _ in range(self._order.at_once):
                    group.create_task(self._closed_loop())
        return self._late_s

    async def _open_loop(self, group: asyncio.TaskGroup) -> None:
        started, under_way = time.monotonic(), set[asyncio.Task[None]]()
        while not self._is_done():
            due = started + self._sent / self._order.rate
            await self._pause(due - time.monotonic())
            if self._is_done():
                return
            self._late_s = max(self._late_s, time.monotonic() - due)
            if len(under_way) >= MAX_UNDER_WAY:
                raise RuntimeError(f"{MAX_UNDER_WAY} requests are under way: the rate is too high for this machine")
            task = group.create_task(self._one(self._next(), due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)

    async def _closed_loop(self) -> None:
        while not self._is_done():
            await self._one(self._next(), time.monotonic())

    def _is_done(self) -> bool:
        return self._stop.is_set() or (0 < self._order.count <= self._sent)

    def _next(self) -> int:
        self._sent += 1
        return (self._sent - 1) % len(self._photos)

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._stop.wait()
            except TimeoutError:
                return

    async def _one(self, photo: int, due: float) -> None:
        deadline, tries, refused, pause_s = due + self._order.timeout_s, 0, 0, FIRST_PAUSE_S
        while True:
            tries += 1
            sent = time.monotonic()
            try:
                async with asyncio.timeout(deadline - sent):
                    reply = await self._exchange(photo, due, sent)
                break
            except TimeoutError:
                what = f"no answer within {self._order.timeout_s:g} s"
                reply = Reply(photo, due, sent, time.monotonic(), LATE, error=what)
                break
            except aiohttp.ClientError as error:
                refused += isinstance(error, NoConnection)
                text = f"{type(error).__name__}: {error}"[:ERROR_CHARS]
                reply = Reply(photo, due, sent, time.monotonic(), LATE, error=text)
            if not self._order.retries or time.monotonic() + pause_s >= deadline:
                break
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._report.add(Reply(**{**vars(reply), "tries": tries, "refused": refused}).as_line())

    async def _exchange(self, photo: int, due: float, sent: float) -> Reply:
        answer = await self._poster.post(self._photos[photo])
        found = parse_detections(answer.body) if answer.status == 200 else None
        return Reply(
            photo,
            due,
            sent,
            time.monotonic(),
            answer.status,
            predictor=answer.headers.get(headers.PREDICTOR, ""),
            model=answer.headers.get(headers.MODEL, ""),
            error="" if found is not None else answer.body[:ERROR_CHARS].decode(errors="replace") or "an empty body",
            detections=found or (),
        )


def _step_back() -> None:
    """Wake-ups of this process interrupt no other: it stands for clients elsewhere, and takes its share when it is its turn."""
    if hasattr(os, "SCHED_BATCH"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


async def main() -> int:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    order, stop, report = Order.parse(await reader.readline()), asyncio.Event(), Report()
    _step_back()
    started = time.monotonic()
    with contextlib.closing(Poster(order.url)) as poster:
        watch = asyncio.create_task(_stop_at_end(reader, stop))
        late_s = await Generator(order, poster, stop, report).run()
        watch.cancel()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    report.add(Effort(usage.ru_utime + usage.ru_stime, time.monotonic() - started, late_s).as_line())
    report.write()
    return 0


async def _stop_at_end(reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    await reader.read()
    stop.set()


def run(main: Coroutine[Any, Any, int]) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


if __name__ == "__main__":
    sys.exit(run(main()))
