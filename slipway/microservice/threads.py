"""Where a component's code runs, and what waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

from slipway.serving.errors import INTERNAL, ServingError, text_of

T = TypeVar("T")
Waited = Callable[[float], None]
"""Takes a wait in seconds."""
NOTHING_RUNS = math.inf
"""When the call of an idle thread began."""


@dataclass
class Raised:
    """``error`` None once it was taken out: a Future's own cycle would keep its traceback and the whole request."""

    error: BaseException | None


Task = tuple[contextvars.Context, Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]
"""A call, the context of its request (its trace), and who is told the outcome."""


class ComponentThreads:
    """Where the component's code runs. One thread is one critical section for each call and all that belongs to it.

    A call waits in the event loop until a thread is free, so that one whose client has left is gone at once. Each thread
    has a queue of its own, with one call in it at most: what a pool of ``concurrent.futures`` does besides (a Future of
    its own and three locks for each call) costs as much as a short call.
    """

    def __init__(self, threads: int, *, has_mine: bool = False) -> None:
        """``has_mine``: the first of them is the one that will call ``work``, the others are made here."""
        self.count = threads
        self._free = asyncio.Semaphore(threads)
        self._idle = list(reversed(range(threads)))  # calls that come one by one are the first thread's
        self._begun = [NOTHING_RUNS] * threads
        self._waiting = 0
        self._queues: list[SimpleQueue[Task | None]] = [SimpleQueue() for _ in range(threads)]
        for number in range(1 if has_mine else 0, threads):
            threading.Thread(target=self.work, args=(number,), name=f"component_{number}", daemon=True).start()

    @property
    def busy(self) -> int:
        """Calls that wait or run."""
        return self._waiting + sum(begun != NOTHING_RUNS for begun in self._begun)

    async def run(self, call: Callable[[], T], *, waited: Waited | None = None) -> T:
        """``call()`` in a component thread; what it raises is raised here, except what would end the event loop.

        Cancelled while it waits, the call never runs; cancelled while it runs, its result is dropped. ``waited`` is told
        the wait for a thread, also of a call that was cancelled meanwhile.
        """
        came = time.monotonic()
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
            if waited is not None:
                waited(time.monotonic() - came)
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T | Raised] = loop.create_future()
        number = self._idle.pop()
        self._begun[number] = time.monotonic()
        self._queues[number].put((contextvars.copy_context(), call, loop, outcome))
        return result_of(await outcome)

    def work(self, number: int = 0) -> None:
        """A thread, until ``close``. One message tells the event loop all there is to tell of a call: each takes time."""
        queue = self._queues[number]
        while (task := queue.get()) is not None:
            context, call, loop, outcome = task
            found = context.run(outcome_of, call)
            self._begun[number] = NOTHING_RUNS
            with contextlib.suppress(RuntimeError):  # a closed loop: nobody waits any more
                loop.call_soon_threadsafe(self._ended, number, outcome, found)
            del task, context, call, outcome, found  # nothing of a request is kept until the next one comes

    def _ended(self, number: int, outcome: asyncio.Future[T | Raised], found: T | Raised) -> None:
        """A thread is free again; what it found goes to whoever still waits for it."""
        self._idle.append(number)
        self._free.release()
        if not outcome.done():
            outcome.set_result(found)

    def longest_s(self) -> float:
        """Seconds since the oldest call that still runs began; 0 without one."""
        return max(0.0, time.monotonic() - min(self._begun))

    def close(self) -> None:
        """The threads end with the calls that run in them: those cannot be stopped."""
        for queue in self._queues:
            queue.put(None)


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
        text = f"the component raised {type(error).__name__}: {text_of(error)}"
        raise ServingError(text, status_code=500, reason=INTERNAL) from error
    finally:
        del error  # its traceback holds this frame
