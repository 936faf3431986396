"""Constant load over REST in a thread, every reply kept."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp

from scripts.demo import photo
from tests.waiting import wait_until

RATE = 40  # requests a second
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Reply:
    """``sent`` and ``done`` on time.monotonic; ``status`` 0 where there was no valid reply."""

    sent: float
    done: float
    status: int
    predictor: str
    error: str = ""
    model: str = ""


@dataclass
class Load:
    """Open loop: a request every 1/RATE s, whatever the answers do. Use as a context manager."""

    url: str
    replies: list[Reply] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._photos = [photo(number) for number in range(8)]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            started, count = time.monotonic(), 0
            while not self._stop.is_set():
                group.create_task(self._one(session, self._photos[count % len(self._photos)]))
                count += 1
                await asyncio.sleep(max(started + count / RATE - time.monotonic(), 0))

    async def _one(self, session: aiohttp.ClientSession, body: bytes) -> None:
        sent = time.monotonic()
        try:
            async with session.post(self.url, data=body, headers={"Content-Type": "image/jpeg"}) as answer:
                text = await answer.text()
                valid = answer.status == 200 and '"detections"' in text
                reply = Reply(
                    sent,
                    time.monotonic(),
                    answer.status if valid else answer.status or -1,
                    answer.headers.get("x-slipway-predictor", ""),
                    "" if valid else text[:300],
                    answer.headers.get("x-slipway-model", ""),
                )
        except (aiohttp.ClientError, TimeoutError) as exc:
            reply = Reply(sent, time.monotonic(), 0, "", f"{type(exc).__name__}: {exc}")
        self.replies.append(reply)

    def wait_replies(self, count: int) -> None:
        """Until ``count`` more have come back."""
        goal = len(self.replies) + count
        wait_until(lambda: len(self.replies) >= goal, timeout_s=60, what=f"{count} more replies")

    def failures(self) -> list[Reply]:
        return [reply for reply in self.replies if reply.status != 200 or reply.error]

    def sent_between(self, start: float, end: float) -> list[Reply]:
        return [reply for reply in self.replies if start <= reply.sent < end]
