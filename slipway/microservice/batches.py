"""Adaptive batching: whatever waits when a thread becomes free is answered together; nothing waits for more to come."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from slipway.microservice.batching import NotRowsError, OwnMetaError, joinable
from slipway.microservice.hooks import Answer, Hooks
from slipway.microservice.inputs import Input
from slipway.microservice.threads import ComponentThreads, Raised, Waited, outcome_of, result_of

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One request of ``predict``: from its body to an Input, from an answer and its milliseconds to its reply.

    Both are called in a component thread, and may raise.
    """

    parse: Callable[[], Input]
    render: Callable[[Answer, float], Any]
    came: float = field(default_factory=time.monotonic)


class Batches:
    """The jobs that wait for ``predict``. ``run`` belongs to the event loop, taking a batch to a component thread."""

    def __init__(
        self, hooks: Hooks, threads: ComponentThreads, *, max_batch: int, waited: Waited | None = None
    ) -> None:
        """``waited`` is told how long each job waited until its batch was taken, or its client left; from any thread."""
        self._hooks = hooks
        self._threads = threads
        self._max_batch = max_batch
        self._waited = waited
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.Future[Any], Job] = {}  # in the order of their coming
        self._turns = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, parse: Callable[[], Input], render: Callable[[Answer, float], T]) -> T:
        """The job's reply. Cancelled while it waits, it never runs; cancelled in a batch, its reply is dropped."""
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[T | Raised] = loop.create_future()
        with self._lock:
            self._waiting[mine] = Job(parse, render)
        if self._turns < self._threads.count:
            self._turns += 1
            nobodys = contextvars.Context()  # a batch is of no single request's trace
            turn = loop.create_task(self._take_turns(), context=nobodys)
            self._tasks.add(turn)
            turn.add_done_callback(self._tasks.discard)
        try:
            return result_of(await mine)
        finally:
            with self._lock:
                left = self._waiting.pop(mine, None)
            self._count_waits([left] if left else [])

    async def _take_turns(self) -> None:
        """A batch at a time, until nothing waits; whoever comes after that begins a turn of its own."""
        try:
            while self._waiting:
                for mine, outcome in await self._threads.run(self._take_and_answer):
                    if not mine.done():
                        mine.set_result(outcome)
        finally:
            self._turns -= 1

    def _take_and_answer(self) -> list[tuple[asyncio.Future[Any], Any]]:
        with self._lock:
            taken = list(self._waiting.items())[: self._max_batch]
            for mine, _ in taken:
                del self._waiting[mine]
        jobs = [job for _, job in taken]
        self._count_waits(jobs)
        whole = outcome_of(lambda: answer_together(self._hooks, jobs, stop_joining=self._stop_joining))
        outcomes = [Raised(whole.error) for _ in taken] if isinstance(whole, Raised) else whole
        return [(mine, outcome) for (mine, _), outcome in zip(taken, outcomes, strict=True)]

    def _stop_joining(self) -> None:
        self._max_batch = 1

    def _count_waits(self, jobs: Sequence[Job]) -> None:
        if self._waited is not None:
            now = time.monotonic()
            for job in jobs:
                self._waited(now - job.came)


def answer_together(hooks: Hooks, jobs: Sequence[Job], *, stop_joining: Callable[[], None]) -> list[Any]:
    """Each job's reply or Raised, with as few calls of ``predict`` as their inputs allow.

    ``stop_joining`` is called where a result shows that the component's requests are to be asked one by one.
    """
    outcomes = [outcome_of(job.parse) for job in jobs]
    inputs = [None if isinstance(one, Raised) else one for one in outcomes]
    replies: list[Any] = list(outcomes)
    for group in joinable(inputs, takes_meta="predict" in hooks.component.meta_hooks):
        together = [one for index in group if (one := inputs[index]) is not None]
        begun = time.perf_counter()
        answers = _answers(hooks, together, stop_joining)
        spent_ms = (time.perf_counter() - begun) * 1000
        for index, answer in zip(group, answers, strict=True):
            replies[index] = answer if isinstance(answer, Raised) else _rendered(jobs[index], answer, spent_ms)
    return replies


def _rendered(job: Job, answer: Answer, spent_ms: float) -> Any:
    return outcome_of(lambda: job.render(answer, spent_ms))


def _answers(hooks: Hooks, inputs: list[Input], stop_joining: Callable[[], None]) -> list[Answer | Raised]:
    """One call for all; where that fails, or gives no rows, one call each: a bad request fails alone."""
    if len(inputs) > 1:
        whole = outcome_of(lambda: hooks.predict_together(inputs))
        if not isinstance(whole, Raised):
            return list(whole)
        if isinstance(whole.error, NotRowsError):
            logger.warning("%s cannot be batched: %s", hooks.component.name, whole.error)
        if isinstance(whole.error, OwnMetaError):
            logger.warning("%s is not batched from now on: %s", hooks.component.name, whole.error)
            stop_joining()
        whole.error = None
    return [_answer(hooks, one) for one in inputs]


def _answer(hooks: Hooks, one: Input) -> Answer | Raised:
    return outcome_of(lambda: hooks.predict(one))
