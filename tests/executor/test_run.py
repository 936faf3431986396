"""The graph algorithm against an independent interpreter of the contract, and its rules one by one."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.executor.errors import CombineError, FeedbackRouteError, NodeAnswered, NodeTimeout, RouteError
from slipway.executor.graph import Method, Node
from slipway.executor.limits import LARGE_MESSAGE_BYTES
from slipway.executor.payload import Payload, Wire
from slipway.executor.routes import ALL_CHILDREN
from slipway.executor.run import Journey, Run, apart, run_feedback, run_graph
from tests.executor import interpreter
from tests.executor.graphs import graph_of
from tests.executor.interpreter import Message, World
from tests.executor.random_graphs import MAX_NODES, START, answer_of, graphs, read, render, situations


class FakeNodes:
    """Nodes that behave as a World says; every answer is given after a turn of the event loop."""

    def __init__(self, world: World, *, wires: dict[str, Wire] | None = None) -> None:
        self.world = world
        self.wires = wires or {}
        self.asked: dict[tuple[str, str], Wire] = {}
        self.under_way = 0
        self.most_at_once = 0

    def takes(self, node: Node) -> Wire:
        return self.wires.get(node.name, Wire.JSON)

    async def call(self, node: Node, method: Method, payload: Payload, *, ask: Wire, journey: Journey) -> Payload:
        what = method.rest_path.removeprefix("/")
        takes_protobuf = self.takes(node) is Wire.PROTOBUF
        assert takes_protobuf or not payload.is_protobuf
        self.asked[node.name, what] = ask
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        try:
            answer = answer_of(self.world, node.name, what, payload)
        except interpreter.NodeHangs as error:
            raise NodeTimeout(str(error)) from error
        except interpreter.NodeError as error:
            raise NodeAnswered(node.name, status_code=500, payload=Payload(str(error).encode())) from error
        return render(answer, protobuf=takes_protobuf and ask is Wire.PROTOBUF)


def run_of(world: World, **options: Any) -> tuple[Run, FakeNodes]:
    nodes = FakeNodes(world, **options)
    return Run(nodes, Journey("puid"), render(START), draw=lambda: world.draw), nodes


async def answer_to(graph: dict[str, Any], world: World, **options: Any) -> Message:
    run, _ = run_of(world, **options)
    answer = await run_graph(graph_of(graph).root, render(START), run=run, ask=Wire.JSON)
    assert not answer.is_protobuf
    world.taken.update({node: route for node, route in run.journey.routing.items() if route != ALL_CHILDREN})
    return read(answer)


async def test_large_messages_are_read_in_a_thread_and_small_ones_are_not() -> None:
    here = threading.get_ident()
    half = Payload(b"x" * (LARGE_MESSAGE_BYTES // 2))
    assert await apart(threading.get_ident, half, half) == here
    assert await apart(threading.get_ident, half, half, Payload(b"x")) != here
    assert await apart(threading.get_ident, Payload(b"x", encoding="gzip")) != here


async def predict(graph: dict[str, Any], world: World) -> str:
    return (await answer_to(graph, world)).trace


KINDS: dict[type[BaseException], str] = {
    interpreter.NodeHangs: "hangs",
    NodeTimeout: "hangs",
    interpreter.BadRoute: "route",
    RouteError: "route",
    FeedbackRouteError: "route",
    interpreter.NoAverage: "average",
    CombineError: "average",
}


def outcome(work: Any) -> tuple[str, Any]:
    """The answer, or the kind of failure and, where a node failed, which."""
    try:
        return "answer", work()
    except interpreter.NodeError as error:
        return "node", str(error)
    except NodeAnswered as error:
        return "node", error.payload.body.decode()
    except tuple(KINDS) as error:
        return KINDS[type(error)], str(error) if "hangs" in KINDS[type(error)] else ""


@settings(max_examples=300, deadline=None)
@given(situations(), st.frozensets(st.sampled_from([f"n{place}" for place in range(MAX_NODES)])))
def test_run_graph_equals_the_interpreter_on_random_graphs(
    situation: tuple[dict[str, Any], World], protobuf: frozenset[str]
) -> None:
    graph, world = situation
    ours = world.fresh()
    expected = outcome(lambda: interpreter.predict(graph, START, world))
    wires = dict.fromkeys(protobuf, Wire.PROTOBUF)
    found = outcome(lambda: asyncio.run(answer_to(graph, ours, wires=wires)))
    assert found == expected
    assert Counter(ours.calls) == Counter(world.calls)
    assert expected[0] != "answer" or ours.taken == world.taken


@settings(max_examples=200, deadline=None)
@given(situations())
def test_run_feedback_equals_the_interpreter_on_random_graphs(situation: tuple[dict[str, Any], World]) -> None:
    graph, world = situation
    ours = world.fresh()
    body = Payload(json.dumps({"response": {"meta": {"routing": world.routes}}}).encode())

    async def give() -> Message | None:
        run, _ = run_of(ours)
        answer = await run_feedback(graph_of(graph).root, body, run=run)
        return None if answer is body else read(answer)

    expected = outcome(lambda: interpreter.feedback(graph, world.routes, world))
    assert outcome(lambda: asyncio.run(give())) == expected
    assert Counter(ours.calls) == Counter(world.calls)


HOSTILE = st.dictionaries(
    st.sampled_from(["n0", "n1", "n2", ""]),
    st.integers() | st.floats() | st.text(max_size=3) | st.none() | st.booleans() | st.lists(st.integers(), max_size=2),
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(graphs(), HOSTILE)
def test_any_routing_of_a_feedback_is_followed_or_refused(graph: dict[str, Any], routing: dict[str, Any]) -> None:
    """What is no whole number counts as missing; what names no child is the client's error."""
    world = World()
    body = Payload(json.dumps({"response": {"meta": {"routing": routing}}}).encode())
    run, _ = run_of(world)
    whole = {name: route for name, route in routing.items() if type(route) is int}
    expected = outcome(lambda: interpreter.feedback(graph, whole, World()) is None)
    found = outcome(lambda: asyncio.run(run_feedback(graph_of(graph).root, body, run=run)) is body)
    assert found == expected


def model(name: str, *children: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "MODEL", "children": list(children), **fields}


def router(*children: dict[str, Any]) -> dict[str, Any]:
    return {"name": "router", "type": "ROUTER", "children": list(children)}


async def test_single_model_answers_what_the_node_returned() -> None:
    assert await predict(model("a"), World()) == "predict@a(M)"


async def test_chain_of_models_feeds_each_answer_to_the_next() -> None:
    assert await predict(model("a", model("b")), World()) == "predict@b(predict@a(M))"


async def test_combiner_gets_the_answers_of_all_children_in_their_order() -> None:
    graph = {"name": "c", "type": "COMBINER", "children": [model("a"), model("b")]}
    assert await predict(graph, World()) == "aggregate@c(predict@a(M),predict@b(M))"


async def test_methods_without_a_type_run_every_step() -> None:
    methods = ["TRANSFORM_INPUT", "ROUTE", "AGGREGATE", "TRANSFORM_OUTPUT"]
    graph = {"name": "n", "type": "UNKNOWN_TYPE", "methods": methods, "children": [model("a"), model("b")]}
    world = World(routes={"n": 1})
    inside = "transform-input@n(M)"
    assert await predict(graph, world) == f"transform-output@n(aggregate@n(predict@b({inside})))"
    assert ("n", "route", inside) in world.calls


@pytest.mark.parametrize(
    ("route", "answer", "called"),
    [(0, "predict@a(M)", {"a"}), (1, "predict@b(M)", {"b"}), (-1, "predict@a(M)", {"a", "b"}), (-2, "M", set())],
)
async def test_router_decides_which_children_run(route: int, answer: str, called: set[str]) -> None:
    world = World(routes={"router": route})
    assert await predict(router(model("a"), model("b")), world) == answer
    assert {node for node, what, _ in world.calls if what == "predict"} == called


@pytest.mark.parametrize("route", [2, 99, -3])
async def test_router_with_a_route_to_no_child_is_a_clear_error(route: int) -> None:
    with pytest.raises(RouteError, match=f"router router: route {route} names no child; it has 2") as caught:
        await predict(router(model("a"), model("b")), World(routes={"router": route}))
    assert (caught.value.status_code, caught.value.reason) == (500, "ROUTE_INVALID")


async def test_feedback_with_a_route_to_no_child_is_the_client_s_error() -> None:
    run, _ = run_of(World())
    body = Payload(b'{"response":{"meta":{"routing":{"router":7}}}}')
    with pytest.raises(FeedbackRouteError) as caught:
        await run_feedback(graph_of(router(model("a"))).root, body, run=run)
    assert caught.value.status_code == 400


@pytest.mark.parametrize(("draw", "child"), [(0.25, "a"), (0.75, "b")])
async def test_random_ab_test_takes_one_child_without_a_container(draw: float, child: str) -> None:
    graph = {"name": "ab", "implementation": "RANDOM_ABTEST", "children": [model("a"), model("b")]}
    assert await predict(graph, World(draw=draw)) == f"predict@{child}(M)"


async def test_fan_out_runs_children_at_once_and_the_first_error_by_order_wins() -> None:
    world = World(failing=frozenset({("b", "predict"), ("c", "predict")}))
    run, nodes = run_of(world)
    graph = {"name": "all", "type": "COMBINER", "children": [model("a"), model("b"), model("c"), model("d")]}
    with pytest.raises(NodeAnswered, match="b predict"):
        await run_graph(graph_of(graph).root, render(START), run=run, ask=Wire.JSON)
    assert nodes.most_at_once == 4
    assert ("d", "predict", "M") in world.calls


async def test_routing_and_time_of_every_node_are_recorded() -> None:
    run, _ = run_of(World(routes={"router": 1}))
    await run_graph(graph_of(router(model("a"), model("b"))).root, render(START), run=run, ask=Wire.JSON)
    assert run.journey.routing == {"router": 1, "b": -1}
    assert set(run.journey.seconds) == {"router", "b"}


PB, JS = Wire.PROTOBUF, Wire.JSON


@pytest.mark.parametrize(
    ("graph", "wires", "client", "asked"),
    [
        (model("a", model("b")), {"a": PB, "b": PB}, JS, {"a": PB, "b": JS}),
        (model("a", model("b")), {"a": PB, "b": PB}, PB, {"a": PB, "b": PB}),
        (model("a", model("b")), {"a": PB}, JS, {"a": JS, "b": JS}),
        (model("a", model("b"), model("c")), {"a": PB, "b": PB}, JS, {"a": JS, "b": JS, "c": JS}),
    ],
    ids=["protobuf-inside", "protobuf-to-the-client", "json-consumer", "one-of-two-consumers-is-json"],
)
async def test_answers_are_asked_for_in_the_wire_of_their_next_consumers(
    graph: dict[str, Any], wires: dict[str, Wire], client: Wire, asked: dict[str, Wire]
) -> None:
    run, nodes = run_of(World(), wires=wires)
    await run_graph(graph_of(graph).root, render(START), run=run, ask=client)
    assert {name: wire for (name, _), wire in nodes.asked.items()} == asked


async def test_output_transformer_is_the_consumer_of_its_children() -> None:
    graph = {"name": "out", "type": "OUTPUT_TRANSFORMER", "children": [model("a")]}
    run, nodes = run_of(World(), wires={"out": PB, "a": PB})
    await run_graph(graph_of(graph).root, render(START), run=run, ask=JS)
    assert nodes.asked == {("a", "predict"): PB, ("out", "transform-output"): JS}
