"""Random graphs over the real wires: an executor between a client and servers, against the interpreter of the contract."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from hypothesis import given, settings

from slipway.executor.metrics import CLIENT_SECONDS
from slipway.executor.payload import Payload
from slipway.serving.messages import JSON, PROTOBUF
from tests.executor import interpreter
from tests.executor.executors import Executor, executor
from tests.executor.interpreter import World
from tests.executor.nodes import Node, Refusal, Reply, Seen, serving
from tests.executor.random_graphs import MAX_NODES, START, answer_of, every, read, render, situations
from tests.waiting import eventually

TIMEOUT_S = 60
"""Of each node's call: far above what any call takes on a busy machine."""
PATIENCE_S = 30.0
"""Of the test: an executor that shares its processor with twenty others may find a node slow, and not ready, for a while."""
FAILED = 409
REASONS = {"ROUTE_INVALID": "route", "COMBINE_INVALID": "average", "NODE_TIMEOUT": "hangs"}


class Loop(asyncio.SelectorEventLoop):
    """Its clock can be put forward: all that has to wait, waits no longer."""

    skipped_s = 0.0

    def time(self) -> float:
        return super().time() + self.skipped_s


class Stage:
    """MAX_NODES servers that play whatever world they are given.

    gRPC has a clock of its own: who hangs there says at once what a caller whose time is over would hear.
    """

    def __init__(self) -> None:
        self.world = World()
        self.nodes = {f"n{place}": Node(f"n{place}") for place in range(MAX_NODES)}
        for node in self.nodes.values():
            node.rest, node.grpc = self._over_rest(node.name), self._over_grpc(node.name)

    def _over_rest(self, name: str) -> Any:
        async def behave(seen: Seen) -> Reply:
            asked = Payload(seen.body, seen.headers.get("Content-Type", ""))
            try:
                answer = answer_of(self.world, name, seen.path.removeprefix("/"), asked)
            except interpreter.NodeError as error:
                return Reply(str(error).encode(), FAILED)
            except interpreter.NodeHangs:
                await asyncio.Event().wait()
                raise
            return Reply(render(answer).body, headers={"Content-Type": JSON})

        return behave

    def _over_grpc(self, name: str) -> Any:
        steps = {
            "Predict": "predict",
            "TransformInput": "transform-input",
            "TransformOutput": "transform-output",
            "Route": "route",
            "Aggregate": "aggregate",
        }

        async def behave(method: str, request: bytes) -> bytes:
            what = steps[method.rpartition("/")[2]]
            try:
                answer = answer_of(self.world, name, what, Payload(request, PROTOBUF))
            except interpreter.NodeError as error:
                raise Refusal(grpc.StatusCode.ALREADY_EXISTS, str(error)) from error
            except interpreter.NodeHangs as error:
                raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, str(error)) from error
            return render(answer, protobuf=True).body

        return behave

    def placed(self, graph: dict[str, Any]) -> dict[str, Any]:
        """The graph with the servers' addresses."""
        placed = {**graph, "children": [self.placed(child) for child in graph["children"]]}
        return placed if interpreter.built_in(graph) else {**placed, "endpoint": self.nodes[graph["name"]].endpoint()}


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=Loop) as running:
        yield running


@pytest.fixture(scope="module")
def stage(runner: asyncio.Runner) -> Iterator[Stage]:
    found, stack = Stage(), AsyncExitStack()
    runner.run(stack.enter_async_context(serving(*found.nodes.values())))
    yield found
    runner.run(stack.aclose())


def expected_of(graph: dict[str, Any], world: World) -> tuple[str, Any]:
    try:
        return "answer", interpreter.predict(graph, START, world)
    except interpreter.NodeError as error:
        return "node", str(error)
    except interpreter.NodeHangs:
        return "hangs", ""
    except interpreter.BadRoute:
        return "route", ""
    except interpreter.NoAverage:
        return "average", ""


async def over_rest(client: Executor, world: World, reference: World) -> tuple[str, Any]:
    """Time passes once nobody works any more: all nodes have been asked, and all but those that hang have answered."""
    hanging = sum(call[:2] in reference.hanging for call in reference.calls)
    asking = asyncio.create_task(client.post(render(START).body))
    if hanging:

        async def only_they_are_left() -> bool:
            all_are_asked = Counter(world.calls) == Counter(reference.calls)
            return all_are_asked and await answered_calls(client) == len(reference.calls) - hanging

        await eventually(only_they_are_left, timeout_s=PATIENCE_S, what="only those that hang are left")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        loop.skipped_s += TIMEOUT_S
    answer = await asking
    if answer.status == 200:
        return "answer", read(Payload(answer.body))
    if answer.status == FAILED:
        return "node", answer.body.decode()
    return REASONS[answer.headers["x-slipway-reason"]], ""


async def answered_calls(client: Executor) -> int:
    """How many the executor has made and has an answer to, without its own first look at each node."""
    series = (line for line in (await client.get("/prometheus")).body.decode().splitlines() if line[:1] != "#")
    counts = (line for line in series if line.startswith(f"{CLIENT_SECONDS}_count") and '"/metadata"' not in line)
    return sum(round(float(line.rpartition(" ")[2])) for line in counts)


async def over_grpc(client: Executor, _world: World, _reference: World) -> tuple[str, Any]:
    try:
        answer, _ = await client.call(render(START, protobuf=True).body)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.ALREADY_EXISTS:
            return "node", error.details()
        trailing: dict[str, Any] = dict(error.trailing_metadata() or ())
        return REASONS[trailing["x-slipway-reason"]], ""
    return "answer", read(Payload(answer, PROTOBUF))


async def check(stage: Stage, graph: dict[str, Any], world: World) -> None:
    annotations = {"seldon.io/rest-timeout": str(TIMEOUT_S * 1000), "seldon.io/grpc-timeout": str(TIMEOUT_S * 1000)}
    reference = world.fresh()
    expected = expected_of(graph, reference)
    async with executor(stage.placed(graph), annotations=annotations) as client:
        for ask in (over_rest, over_grpc):
            stage.world = world.fresh()
            assert await ask(client, stage.world, reference) == expected, ask.__name__
            assert Counter(stage.world.calls) == Counter(reference.calls), ask.__name__
        await eventually(client.is_ready, timeout_s=PATIENCE_S, what="still ready")


@settings(max_examples=40, deadline=None)
@given(situation=situations(ratios=("0", "1")))
def test_any_graph_answers_alike_over_rest_and_grpc_and_as_the_interpreter_says(
    situation: tuple[dict[str, Any], World], stage: Stage, runner: asyncio.Runner
) -> None:
    graph, world = situation
    assert len(every(graph)) <= MAX_NODES
    runner.run(check(stage, graph, world))
