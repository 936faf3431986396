"""The component behind both protocols: one queue, its threads, one set of facts."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from slipway.contract.headers import MODEL, PREDICTOR, SERVER_TIMING
from slipway.microservice.batches import Batches
from slipway.microservice.calls import call_health
from slipway.microservice.hooks import Hooks
from slipway.microservice.inline import InlineCalls
from slipway.microservice.metadata import metadata_unavailable
from slipway.microservice.settings import NOT_IMPLEMENTED
from slipway.microservice.threads import ComponentThreads
from slipway.serving.addressee import check_addressee, named
from slipway.serving.admission import Admission
from slipway.serving.lifecycle import Lifecycle
from slipway.serving.limits import MAX_IN_FLIGHT
from slipway.serving.pressure import Pressure, QueueDelay
from slipway.serving.tracing import OFF, Tracing

HEALTH_WAIT_S = 0.3
"""A health question waits so long for the component, far below the second that a probe gives it by default; while the
component computes, its last health answer stands."""

ALONE = ("predict_raw", "predict_rest", "predict_grpc", "tags", "metrics")
"""Hooks whose requests share no call."""

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Service:
    """What the REST and the gRPC half share. Used from the event loop only."""

    def __init__(
        self,
        hooks: Hooks,
        threads: ComponentThreads | InlineCalls,
        *,
        lifecycle: Lifecycle,
        metadata: dict[str, Any] | str,
        max_in_flight: int = MAX_IN_FLIGHT,
        max_batch: int = 1,
        max_requests: int = 0,
        max_requests_jitter: int = 0,
        is_spent: Callable[[], None] = lambda: None,
        tracing: Tracing = OFF,
    ) -> None:
        """``metadata`` is the component's, or a sentence that says why there is none.

        ``max_in_flight``: requests that may wait or compute at a time; one more is refused at once.
        ``max_batch``: requests that one call of ``predict`` may answer; 1 for one each.
        ``is_spent`` is called after every ``max_requests`` answers; 0 for never.
        """
        self.hooks = hooks
        self.threads = threads
        self.lifecycle = lifecycle
        self.tracing = tracing
        self.admission = Admission(max_requests=max_in_flight)
        self.queue = QueueDelay()
        self.batches = (
            Batches(hooks, threads, max_batch=max_batch, waited=self.queue.observe)
            if max_batch > 1 and isinstance(threads, ComponentThreads) and _joins(hooks)
            else None
        )
        self._metadata = metadata
        self._max_requests, self._is_spent = max_requests, is_spent
        self._requests_left = max_requests + random.randint(0, max_requests_jitter) if max_requests else None  # noqa: S311
        self._health_answer = b'{"strData":"healthy","meta":{}}'
        self._health_call: asyncio.Task[bytes] | None = None
        self._predictor = "" if hooks.identity.predictor == NOT_IMPLEMENTED else hooks.identity.predictor
        self._timing_name = re.sub(r"[^A-Za-z0-9_-]", "_", hooks.identity.unit or hooks.component.name)

    @property
    def metadata(self) -> dict[str, Any]:
        """Raises ServingError 500 MICROSERVICE_BAD_METADATA where the component's metadata does not fit."""
        if isinstance(self._metadata, str):
            raise metadata_unavailable(self._metadata)
        return self._metadata

    def run(self, call: Callable[[], T]) -> Coroutine[Any, Any, T]:
        """A request's ``call()`` in a component thread; its wait is counted."""
        return self.threads.run(call, waited=self.queue.observe)

    def pressure(self) -> Pressure:
        """How busy this process is, as metrics."""
        return Pressure(lambda: self.hooks.metrics.labels, lambda: self.admission.requests, self.queue)

    def count_request(self) -> None:
        """With ``--max-requests``: the last allowed request asks for a successor, and is not the last while none serves."""
        if self._requests_left is None:
            return
        self._requests_left -= 1
        if self._requests_left <= 0:
            self._requests_left = self._max_requests
            self._is_spent()

    def check_addressee(self, values: Iterable[str]) -> None:
        """Of a feedback, by its ``slipway-predictor`` headers; raises as ``slipway.serving.addressee`` says."""
        check_addressee(named(values), self._predictor)

    def facts(self) -> dict[str, str]:
        """Headers (gRPC: trailing metadata) of every answer: the predictor, where there is one, and the served model."""
        named = {PREDICTOR: self._predictor, MODEL: self.hooks.component.provenance}
        return {name: text for name, text in named.items() if text and text.isascii() and text.isprintable()}

    def timing(self, component_ms: float) -> dict[str, str]:
        return {SERVER_TIMING: f"{self._timing_name};dur={component_ms:.2f}"}

    def timing_since(self, begun: float) -> dict[str, str]:
        """A refusal's time, its wait for the component included; ``begun`` is of ``time.perf_counter``."""
        return self.timing((time.perf_counter() - begun) * 1000)

    async def health(self) -> bytes:
        """The component's health as JSON; while it is busy its last answer. Raises what its health hook raises."""
        if self._health_call is None or self._health_call.done():
            self._health_call = asyncio.create_task(self.threads.run(lambda: call_health(self.hooks)))
        done, _ = await asyncio.wait({self._health_call}, timeout=HEALTH_WAIT_S)
        if done:
            self._health_answer = self._health_call.result()
        return self._health_answer


def _joins(hooks: Hooks) -> bool:
    """Whether requests of this component may share a call: not where it answers each by itself or says something of it."""
    component = hooks.component
    alone = [name for name in ALONE if component.has_own(name)]
    if component.error_handler is not None:
        alone.append("model_error_handler")
    if alone:
        logger.warning("%s is not batched: it has %s", component.name, ", ".join(alone))
    return not alone
