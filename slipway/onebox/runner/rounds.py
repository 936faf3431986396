"""A controller's loop: one look at everything after any change, and when time alone may have changed something."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

MAX_SLEEP_S = 30.0
RETRY_S = 1.0
"""After a round in which the API refused a step."""


class Rounds:
    """``wake`` after any change; ``run`` for ever. ``one`` is a round: it says how many seconds it may be until the next,

    None where only news make one.
    """

    def __init__(self, one: Callable[[], Awaitable[float | None]]) -> None:
        self._one = one
        self._changed = asyncio.Event()

    def wake(self) -> None:
        self._changed.set()

    async def run(self) -> None:
        while True:
            self._changed.clear()
            pause_s = await self._one()
            try:
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()
            except TimeoutError:
                continue
