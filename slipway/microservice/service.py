"""The component behind both protocols: one queue, one thread (or as many as asked for), one set of facts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from slipway.contract.headers import MODEL, SERVER_TIMING
from slipway.microservice.calls import call_health
from slipway.microservice.hooks import Hooks
from slipway.microservice.metadata import metadata_unavailable
from slipway.serving.admission import Admission
from slipway.serving.errors import INTERNAL, ServingError
from slipway.serving.lifecycle import Lifecycle
from slipway.serving.limits import MAX_IN_FLIGHT

HEALTH_WAIT_S = 1.0
"""A health question waits so long for the component; while it computes, its last health answer stands."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass
class _Raised:
    """``error`` None once it was taken out: a Future's own cycle would keep its traceback and the whole request."""

    error: BaseException | None


class ComponentThreads:
    """Where the component's code runs. One thread is one critical section for each call and all that belongs to it.

    A call waits in the event loop until a thread is free, so that one whose client has left is gone at once.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="component")
        self._free = asyncio.Semaphore(threads)
        self._lock = threading.Lock()
        self.busy = 0
        """Calls that wait or run."""
        self._begun: dict[int, float] = {}  # by thread

    async def run(self, call: Callable[[], T]) -> T:
        """``call()`` in a component thread; what it raises is raised here, except what would end the event loop.

        Cancelled while it waits, the call never runs; cancelled while it runs, its result is dropped.
        """
        outcome = await self._outcome_of(call)
        if not isinstance(outcome, _Raised):
            return outcome
        error, outcome.error = outcome.error, None
        try:
            if isinstance(error, Exception) and not isinstance(error, StopIteration):
                raise error
            text = f"the component raised {type(error).__name__}: {error}"
            raise ServingError(text, status_code=500, reason=INTERNAL) from error
        finally:
            del error  # its traceback holds this frame

    async def _outcome_of(self, call: Callable[[], T]) -> T | _Raised:
        self._count(1)
        try:
            await self._free.acquire()
        except asyncio.CancelledError:
            self._count(-1)
            raise
        future = self._pool.submit(self._timed, call)
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _done: self._ended(loop))
        return await asyncio.wrap_future(future)

    def _ended(self, loop: asyncio.AbstractEventLoop) -> None:
        """A thread is free again: told by that thread, maybe after the server has stopped."""
        self._count(-1)
        with contextlib.suppress(RuntimeError):  # a closed loop: nobody waits any more
            loop.call_soon_threadsafe(self._free.release)

    def longest_s(self) -> float:
        """Seconds since the oldest call that still runs began; 0 without one."""
        with self._lock:
            return time.monotonic() - min(self._begun.values()) if self._begun else 0.0

    def _timed(self, call: Callable[[], T]) -> T | _Raised:
        thread = threading.get_ident()
        with self._lock:
            self._begun[thread] = time.monotonic()
        try:
            return _outcome(call)
        finally:
            with self._lock:
                del self._begun[thread]

    def _count(self, step: int) -> None:
        with self._lock:  # a call's end is told by its thread
            self.busy += step

    def close(self) -> None:
        """Drop what waits; a call that runs cannot be stopped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _outcome(call: Callable[[], T]) -> T | _Raised:
    try:
        return call()
    except BaseException as exc:  # noqa: BLE001 - StopIteration and SystemExit would be lost in a Future
        return _Raised(exc)


class Service:
    """What the REST and the gRPC half share. Used from the event loop only."""

    def __init__(
        self,
        hooks: Hooks,
        threads: ComponentThreads,
        *,
        lifecycle: Lifecycle,
        metadata: dict[str, Any] | str,
        max_in_flight: int = MAX_IN_FLIGHT,
        max_requests: int = 0,
        max_requests_jitter: int = 0,
    ) -> None:
        """``metadata`` is the component's, or a sentence that says why there is none.

        ``max_in_flight``: requests that may be read, wait or compute at a time; one more is refused at once.
        """
        self.hooks = hooks
        self.threads = threads
        self.lifecycle = lifecycle
        self.admission = Admission(max_requests=max_in_flight)
        self._metadata = metadata
        self._requests_left = max_requests + random.randint(0, max_requests_jitter) if max_requests else None  # noqa: S311
        self._health_answer = b'{"strData":"healthy","meta":{}}'
        self._health_call: asyncio.Task[bytes] | None = None
        self._timing_name = re.sub(r"[^A-Za-z0-9_-]", "_", hooks.identity.unit or hooks.component.name)

    @property
    def metadata(self) -> dict[str, Any]:
        """Raises ServingError 500 MICROSERVICE_BAD_METADATA where the component's metadata does not fit."""
        if isinstance(self._metadata, str):
            raise metadata_unavailable(self._metadata)
        return self._metadata

    def count_request(self) -> None:
        """With ``--max-requests``: the last allowed request asks for a stop; a supervisor starts a new worker."""
        if self._requests_left is None:
            return
        self._requests_left -= 1
        if self._requests_left <= 0:
            self.lifecycle.stop_asked.set()

    def facts(self) -> dict[str, str]:
        """Headers (gRPC: trailing metadata) that name the served model."""
        provenance = self.hooks.component.provenance
        return {MODEL: provenance} if provenance and provenance.isascii() and provenance.isprintable() else {}

    def timing(self, component_ms: float) -> dict[str, str]:
        return {SERVER_TIMING: f"{self._timing_name};dur={component_ms:.2f}"}

    async def health(self) -> bytes:
        """The component's health as JSON; while it is busy its last answer. Raises what its health hook raises."""
        if self._health_call is None or self._health_call.done():
            self._health_call = asyncio.create_task(self.threads.run(lambda: call_health(self.hooks)))
        done, _ = await asyncio.wait({self._health_call}, timeout=HEALTH_WAIT_S)
        if done:
            self._health_answer = self._health_call.result()
        return self._health_answer
