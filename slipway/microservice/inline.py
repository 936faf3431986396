"""A component's calls in the event loop itself, for components of well below a millisecond."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from slipway.microservice.hang import HUNG
from slipway.microservice.threads import NOTHING_RUNS, Waited, outcome_of, result_of
from slipway.serving import limits

T = TypeVar("T")

logger = logging.getLogger(__name__)


class InlineCalls:
    """Stands in for ``ComponentThreads``: no way to a thread and back, which is half of a small call's time.

    A call holds up everything else that the process answers, its health too. None can be cancelled.
    """

    count = 1
    busy = 0
    """Of the event loop's view: while a call runs, nobody is there to ask."""

    def __init__(self) -> None:
        self._begun = NOTHING_RUNS

    async def run(self, call: Callable[[], T], *, waited: Waited | None = None) -> T:
        """As ``ComponentThreads.run``; the wait is none, for what waits has not been read yet."""
        if waited is not None:
            waited(0.0)
        self._begun = time.monotonic()
        try:
            return result_of(outcome_of(call))
        finally:
            self._begun = NOTHING_RUNS

    def longest_s(self) -> float:
        """Seconds since the call that runs began; 0 without one. From any thread."""
        return max(0.0, time.monotonic() - self._begun)


def watch(calls: InlineCalls, patience: float, end: Callable[[], None]) -> None:
    """Start a thread that calls ``end`` when a call has run for longer than ``patience`` seconds."""

    def look() -> None:
        while (longest := calls.longest_s()) <= patience:
            time.sleep(min(patience - longest, limits.HANG_CHECK_S) + limits.HANG_CHECK_MIN_S)
        logger.error(HUNG, longest)
        end()

    threading.Thread(target=look, name="watch the calls", daemon=True).start()
