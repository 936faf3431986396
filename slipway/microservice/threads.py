"""Where a component's code runs, and what waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from slipway.serving.errors import INTERNAL, ServingError

T = TypeVar("T")
Waited = Callable[[float], None]
"""Takes a wait in seconds."""


@dataclass
class Raised:
    """``error`` None once it was taken out: a Future's own cycle would keep its traceback and the whole request."""

    error: BaseException | None


class ComponentThreads:
    """Where the component's code runs. One thread is one critical section for each call and all that belongs to it.

    A call waits in the event loop until a thread is free, so that one whose client has left is gone at once.
    """

    def __init__(self, threads: int) -> None:
        self.count = threads
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="component")
        self._free = asyncio.Semaphore(threads)
        self._lock = threading.Lock()
        self.busy = 0
        """Calls that wait or run."""
        self._begun: dict[int, float] = {}  # by thread

    async def run(self, call: Callable[[], T], *, waited: Waited | None = None) -> T:
        """``call()`` in a component thread; what it raises is raised here, except what would end the event loop.

        Cancelled while it waits, the call never runs; cancelled while it runs, its result is dropped. ``waited`` is told
        the wait for a thread, also of a call that was cancelled meanwhile.
        """
        return result_of(await self._outcome_of(call, waited))

    async def _outcome_of(self, call: Callable[[], T], waited: Waited | None) -> T | Raised:
        self._count(1)
        came = time.monotonic()
        try:
            await self._free.acquire()
        except asyncio.CancelledError:
            self._count(-1)
            raise
        finally:
            if waited is not None:
                waited(time.monotonic() - came)
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T | Raised] = loop.create_future()
        self._pool.submit(contextvars.copy_context().run, self._work, call, loop, outcome)  # the request's trace
        return await outcome

    def _work(
        self, call: Callable[[], T], loop: asyncio.AbstractEventLoop, outcome: asyncio.Future[T | Raised]
    ) -> None:
        """In a thread. One message tells the event loop all there is to tell: each costs as much as a short call."""
        found = self._timed(call)
        self._count(-1)
        with contextlib.suppress(RuntimeError):  # a closed loop: nobody waits any more
            loop.call_soon_threadsafe(self._ended, outcome, found)

    def _ended(self, outcome: asyncio.Future[T | Raised], found: T | Raised) -> None:
        """A thread is free again; what it found goes to whoever still waits for it."""
        self._free.release()
        if not outcome.done():
            outcome.set_result(found)

    def longest_s(self) -> float:
        """Seconds since the oldest call that still runs began; 0 without one."""
        with self._lock:
            return time.monotonic() - min(self._begun.values()) if self._begun else 0.0

    def _timed(self, call: Callable[[], T]) -> T | Raised:
        thread = threading.get_ident()
        with self._lock:
            self._begun[thread] = time.monotonic()
        try:
            return outcome_of(call)
        finally:
            with self._lock:
                del self._begun[thread]

    def _count(self, step: int) -> None:
        with self._lock:  # a call's end is told by its thread
            self.busy += step

    def close(self) -> None:
        """Drop what waits; a call that runs cannot be stopped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def outcome_of(call: Callable[[], T]) -> T | Raised:
    """What ``call()`` returns or raises."""
    try:
        return call()
    except BaseException as exc:  # noqa: BLE001 - StopIteration and SystemExit would be lost in a Future
        return Raised(exc)


def result_of(outcome: T | Raised) -> T:
    """The result, or the error raised; once only. What would end the event loop becomes a ServingError."""
    if not isinstance(outcome, Raised):
        return outcome
    error, outcome.error = outcome.error, None
    try:
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            raise error
        text = f"the component raised {type(error).__name__}: {error}"
        raise ServingError(text, status_code=500, reason=INTERNAL) from error
    finally:
        del error  # its traceback holds this frame
