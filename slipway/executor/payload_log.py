"""Sends payload events to their receivers, beside the requests: no request waits for it, and what it holds is bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from slipway.executor.addresses import Addresses
from slipway.executor.dialect import Dialect
from slipway.executor.graph import EventKind, Node
from slipway.executor.limits import LARGE_LOG_BYTES, LOG_FLUSH_S, LOG_RETRY_PAUSES_S
from slipway.executor.payload import Payload
from slipway.executor.payload_log_event import Event, Origin, event_headers, event_of, logged_form, shown_url
from slipway.executor.payload_log_losses import Losses, Reason
from slipway.executor.payload_log_queue import Bounds, EventQueue
from slipway.executor.payload_log_sender import Problem, Sender


class PayloadLog:
    """Costs nothing until the first event: workers start with it, and end when nothing waits."""

    def __init__(
        self,
        origin: Callable[[], Origin],
        *,
        dialect: Dialect,
        addresses: Addresses,
        bounds: Bounds,
        workers: int,
        registry: CollectorRegistry,
    ) -> None:
        self._origin = origin
        self._dialect = dialect
        self._queue = EventQueue(bounds)
        self._sender = Sender(addresses=addresses, connections=workers)
        self._max_workers = workers
        self._workers: set[asyncio.Task[None]] = set()
        self._large = asyncio.Semaphore(1)
        self._losses = Losses(registry, waiting=lambda: len(self._queue), held_bytes=lambda: self._queue.bytes)
        self._expiry: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._abandoned = 0

    def add(self, node: Node, kind: EventKind, payload: Payload, *, puid: str) -> None:
        """Have ``payload`` sent later; dropped and counted where there is no place for it."""
        event = event_of(node, kind, payload, puid=puid, seen_at=time.time())
        if self._is_closed:
            self._losses.lost("shutdown")
        elif loss := self._queue.put(event, now=time.monotonic()):
            self._losses.lost(loss)
        else:
            self._watch_expiry()
            self._employ()

    async def close(self) -> None:
        """Send what waits, for LOG_FLUSH_S at most; the rest is dropped and counted."""
        self._is_closed = True
        if self._workers:
            await asyncio.wait(self._workers, timeout=LOG_FLUSH_S)
        left = self._queue.clear()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._expiry is not None:
            self._expiry.cancel()
        self._losses.lost("shutdown", left + self._abandoned)
        self._losses.close()
        await self._sender.close()

    def _employ(self) -> None:
        if len(self._workers) < self._max_workers:
            worker = asyncio.create_task(self._work(), name="payload log")
            self._workers.add(worker)
            worker.add_done_callback(self._retire)

    def _retire(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self._losses.lost("error", why=repr(error))
            if len(self._queue) and not self._is_closed:
                self._employ()

    async def _work(self) -> None:
        while (event := self._queue.take()) is not None:
            try:
                await self._handle(event)
            except asyncio.CancelledError:
                self._abandoned += 1
                raise
            finally:
                self._queue.done(event)

    async def _handle(self, event: Event) -> None:
        if len(event.payload.body) <= LARGE_LOG_BYTES and not event.payload.encoding:
            await self._deliver(event, logged_form(event, self._dialect))
            return
        async with self._large:
            form = await asyncio.to_thread(logged_form, event, self._dialect)
            await self._deliver(event, form)

    async def _deliver(self, event: Event, form: Payload) -> None:
        """Three attempts, the same event each time: a receiver that saw two knows them by their ``ce-id``."""
        sent = event_headers(event, form, self._origin())
        for pause in (*LOG_RETRY_PAUSES_S, None):
            problem = await self._sender.post(event.url, sent, form.body)
            if problem is None:
                self._losses.delivered()
                return
            if problem.is_permanent or pause is None:
                self._lose(event, problem)
                return
            await asyncio.sleep(pause)

    def _lose(self, event: Event, problem: Problem) -> None:
        reason: Reason = "refused" if problem.is_permanent else "unreachable"
        self._losses.lost(reason, why=f"node {event.node} to {shown_url(event.url)}: {problem.text}")

    def _watch_expiry(self) -> None:
        if self._expiry is None and (at := self._queue.next_expiry()) is not None:
            delay = max(0.0, at - time.monotonic())
            self._expiry = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        self._losses.lost("queue_full", self._queue.expire(now=time.monotonic()))
        self._watch_expiry()
