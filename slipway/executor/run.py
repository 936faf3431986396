"""One message through a graph: the contract's algorithm (§3.3, feedback §3.5) over any way of calling a node."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from slipway.executor.dialect import SELDON, Dialect
from slipway.executor.errors import AnswerTooLarge, NodeAnswered
from slipway.executor.graph import BuiltIn, EventKind, Method, Node, RandomAbTest
from slipway.executor.limits import LARGE_MESSAGE_BYTES
from slipway.executor.payload import Payload, Wire, with_routing
from slipway.executor.routes import (
    ALL_CHILDREN,
    NO_CHILD,
    check_feedback_route,
    check_route,
    feedback_routing,
)
from slipway.serving.limits import MAX_PUID_CHARS

T = TypeVar("T")


def _uncounted(_size_bytes: int) -> None:
    """Of what no client asks for: the executor's own questions."""


@dataclass(slots=True)
class Journey:
    """What one request gathers on its way; every call into a node sees it."""

    puid: str
    headers: Any = ()
    """The client's headers that go to every node, in the transport's own form."""
    model: str = ""
    """The model that the client's URL or request named, where the protocol has such names."""
    answered_by: str = ""
    """The predictor whose reply the client's feedback is about, where it names one."""
    remaining_s: float = math.inf
    """What the client's own deadline left when the request came in."""
    routing: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    """Node → time spent waiting for it, over all its calls."""
    models: list[str] = field(default_factory=list)
    """What nodes said in ``x-slipway-model``, in the order of their answers."""
    hold_answer: Callable[[int], None] = _uncounted
    """Takes the bytes of nodes' answers as they come; raises ServingError where they are too many."""

    @contextmanager
    def timed(self, node: Node) -> Iterator[None]:
        """Count the time until the block ends as spent waiting for ``node``."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[node.name] = self.seconds.get(node.name, 0.0) + time.perf_counter() - begun


def puid_of(given: str) -> str:
    """The client's own identifier of its request, or a new one where it has none or a longer one than MAX_PUID_CHARS."""
    return given if 0 < len(given) <= MAX_PUID_CHARS else str(uuid4())


class NodeClient(Protocol):
    """How a node is reached: REST, gRPC, or a fake in tests."""

    def takes(self, node: Node) -> Wire:
        """The best wire that the node takes and gives."""

    async def call(self, node: Node, method: Method, payload: Payload, *, ask: Wire, journey: Journey) -> Payload:
        """The node's answer, in the wire asked for where the node can; RequestError when there is none."""


class Recorder(Protocol):
    """Where payloads of nodes with a logger go: the payload log, or a list in tests."""

    def add(self, node: Node, kind: EventKind, payload: Payload, *, puid: str) -> None:
        """Take note of it; never waits, never raises."""


@dataclass(frozen=True, slots=True)
class Run:
    client: NodeClient
    journey: Journey
    request: Payload
    """What the client sent: a node that finds it too large has refused the client, any other message our chain."""
    dialect: Dialect = SELDON
    injects_routing: bool = False
    draw: Callable[[], float] = random.random
    """Uniform in [0, 1), for A/B tests."""
    recorder: Recorder | None = None
    """None where no payload of this request is logged."""

    def record(self, node: Node, kind: EventKind, payload: Payload) -> None:
        if self.recorder is not None and node.logger is not None and kind in node.logger.kinds:
            self.recorder.add(node, kind, payload, puid=self.journey.puid)


async def run_graph(node: Node, payload: Payload, *, run: Run, ask: Wire) -> Payload:
    """``payload`` through ``node`` and everything below it; the answer is asked for as ``ask``."""
    inside = run.client.takes(node) if node.transforms_output else ask
    if node.input is not None:
        wanted = _children_take(node, run=run, after=inside) if node.children else inside
        run.record(node, EventKind.REQUEST, payload)
        payload = await _give_input(node, node.input, payload, run=run, ask=wanted)
        run.record(node, EventKind.RESPONSE, payload)
        run.journey.routing[node.name] = ALL_CHILDREN
    if node.children:
        run.record(node, EventKind.REQUEST, payload)
        payload = await _run_children(node, payload, run=run, ask=inside)
        run.record(node, EventKind.RESPONSE, payload)
    if node.transforms_output:
        run.record(node, EventKind.REQUEST, payload)
        payload = await _call(node, Method.TRANSFORM_OUTPUT, payload, run=run, ask=ask)
        run.record(node, EventKind.RESPONSE, payload)
    if run.injects_routing:
        answer, routing = payload, dict(run.journey.routing)  # other branches write theirs while a thread reads this
        payload = await apart(lambda: with_routing(answer, routing), answer)
    return payload


async def _give_input(node: Node, method: Method | BuiltIn, payload: Payload, *, run: Run, ask: Wire) -> Payload:
    if isinstance(method, BuiltIn):
        return await apart(lambda: run.dialect.simple_answer(payload, ask), payload)
    return await _call(node, method, payload, run=run, ask=ask)


async def run_feedback(root: Node, payload: Payload, *, run: Run) -> Payload:
    """Feedback to the nodes that took part; the root's answer, or the feedback itself where the root takes none."""
    routing = await apart(lambda: feedback_routing(payload), payload)
    answer = await _give_feedback(root, payload, routing, run=run)
    return payload if answer is None else answer


async def _run_children(node: Node, payload: Payload, *, run: Run, ask: Wire) -> Payload:
    route = await _choose(node, payload, run=run)
    run.journey.routing[node.name] = route
    if route == NO_CHILD:
        return payload
    wanted = run.client.takes(node) if node.combiner else ask
    answers = await _at_once([run_graph(child, payload, run=run, ask=wanted) for child in _chosen(node, route)])
    if node.combiner is None:
        return answers[0]
    run.record(node, EventKind.REQUEST, payload)
    combined = await _combine(node, node.combiner, answers, run=run, ask=ask)
    run.record(node, EventKind.RESPONSE, combined)
    return combined


async def _combine(
    node: Node, combiner: Method | BuiltIn, answers: Sequence[Payload], *, run: Run, ask: Wire
) -> Payload:
    if isinstance(combiner, BuiltIn):
        return await apart(lambda: run.dialect.average(answers, ask, node=node.name), *answers)
    return await _call(node, combiner, await apart(lambda: run.dialect.combine(answers), *answers), run=run, ask=ask)


async def _choose(node: Node, payload: Payload, *, run: Run) -> int:
    match node.router:
        case None:
            return ALL_CHILDREN
        case RandomAbTest(ratio):
            return 0 if run.draw() < ratio else 1
        case BuiltIn():
            return 0
        case Method():
            answer = await _call(node, Method.ROUTE, payload, run=run, ask=run.client.takes(node))
            route = await apart(lambda: run.dialect.route(answer, router=node.name), answer)
            return check_route(route, router=node.name, children=len(node.children))


def _chosen(node: Node, route: int) -> tuple[Node, ...]:
    if route == ALL_CHILDREN:
        return node.children
    return () if route == NO_CHILD else (node.children[route],)


async def _give_feedback(node: Node, payload: Payload, routing: dict[str, int], *, run: Run) -> Payload | None:
    run.record(node, EventKind.FEEDBACK, payload)
    route = check_feedback_route(routing.get(node.name, ALL_CHILDREN), router=node.name, children=len(node.children))
    await _at_once([_give_feedback(child, payload, routing, run=run) for child in _chosen(node, route)])
    if not node.takes_feedback:
        return None
    return await _call(node, Method.SEND_FEEDBACK, payload, run=run, ask=Wire.JSON)


async def _call(node: Node, method: Method, payload: Payload, *, run: Run, ask: Wire) -> Payload:
    with run.journey.timed(node):
        try:
            return await run.client.call(node, method, payload, ask=ask, journey=run.journey)
        except NodeAnswered as error:
            if payload is run.request or not error.says_too_large:
                raise
            size = f"{len(payload.body)} bytes of other nodes' answers"
            raise AnswerTooLarge(f"node {node.name} does not take {size}: {error}") from error


async def apart(work: Callable[[], T], *read: Payload) -> T:
    """``work()``, which reads those payloads: in a thread where they are large."""
    if not any(one.encoding for one in read) and sum(len(one.body) for one in read) <= LARGE_MESSAGE_BYTES:
        return work()
    return await asyncio.to_thread(work)


def entry_wire(node: Node, *, run: Run, after: Wire) -> Wire:
    """The wire that the first readers of a message entering ``node`` take; ``after`` reads what the node gives."""
    if node.input is not None:
        return run.client.takes(node)
    inside = run.client.takes(node) if node.transforms_output else after
    return _children_take(node, run=run, after=inside) if node.children else inside


def _children_take(node: Node, *, run: Run, after: Wire) -> Wire:
    """The wire that everyone reading a message below ``node`` takes: router, children, and ``after`` on route -2."""
    readers = []
    if isinstance(node.router, Method):
        readers += [run.client.takes(node), after]
    answer = run.client.takes(node) if node.combiner else after
    readers += [entry_wire(child, run=run, after=answer) for child in node.children]
    return Wire.PROTOBUF if all(reader is Wire.PROTOBUF for reader in readers) else Wire.JSON


async def _at_once(branches: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All of them concurrently; every one ends before the first error, by order, is raised."""
    if len(branches) == 1:
        return [await branches[0]]
    results = await asyncio.gather(*branches, return_exceptions=True)
    answers: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        answers.append(result)
    return answers
