"""Constant load over REST for tests that are no coroutines: the drills' own generator, every reply kept."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.demo import photo
from slipway.drill import load as drill
from slipway.drill.order import Order
from slipway.drill.reply import Reply
from tests.waiting import wait_until

__all__ = ["Load", "Reply"]
RATE = 40  # requests a second
PHOTOS = 8
STARTED_WITHIN_S = 60.0


@dataclass
class Load:
    """Open loop: ``rate`` requests a second, whatever the answers do. Use as a context manager.

    ``bodies``: what is sent in turn, instead of photos.
    """

    url: str
    rate: int = RATE
    bodies: tuple[bytes, ...] = ()
    replies: list[Reply] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _errors: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._errors and error is None:
            raise self._errors[0]

    def _run(self) -> None:
        try:
            with tempfile.TemporaryDirectory() as folder:
                asyncio.run(self._generate(Path(folder)))
        except Exception as error:  # noqa: BLE001  - handed to the test's thread
            self._errors.append(error)

    async def _generate(self, folder: Path) -> None:
        bodies = self.bodies or tuple(photo(number) for number in range(PHOTOS))
        files = [folder / f"{number}.jpg" for number in range(len(bodies))]
        for path, body in zip(files, bodies, strict=True):
            path.write_bytes(body)
        order = Order(self.url, tuple(map(str, files)), rate=self.rate)
        async with drill.Load(order, replies=self.replies):
            await asyncio.to_thread(self._stop.wait)

    def wait_replies(self, count: int) -> None:
        """Until ``count`` more have come back."""
        goal, timeout_s = len(self.replies) + count, STARTED_WITHIN_S + count / self.rate
        wait_until(lambda: len(self.replies) >= goal or self._errors, timeout_s=timeout_s, what=f"{count} more replies")
        if self._errors:
            raise self._errors[0]

    def failures(self) -> list[Reply]:
        return [reply for reply in self.replies if not reply.is_valid]

    def due_each_second(self) -> list[int]:
        """How many requests were due in each whole second from the first one on; the last second, which is cut off, is left out.

        A reply is valid within 10 s of that, so where none is lost a generator that comes late has sent them all the same.
        """
        begin = min(reply.due for reply in self.replies)
        counts = Counter(int(reply.due - begin) for reply in self.replies)
        return [counts[second] for second in range(max(counts))]

    def sent_between(self, start: float, end: float) -> list[Reply]:
        return [reply for reply in self.replies if start <= reply.sent < end]
