"""The graph algorithm against an independent interpreter of the contract, and its rules one by one."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.executor.errors import FeedbackRouteError, NodeAnswered, RouteError
from slipway.executor.graph import Method, Node
from slipway.executor.payload import Payload, Wire
from slipway.executor.run import Journey, Run, run_feedback, run_graph
from tests.executor import interpreter
from tests.executor.graphs import graph_of

MAX_NODES = 12
METHODS = ["TRANSFORM_INPUT", "TRANSFORM_OUTPUT", "ROUTE", "AGGREGATE", "SEND_FEEDBACK"]
TYPES = ["MODEL", "TRANSFORMER", "OUTPUT_TRANSFORMER", "ROUTER", "COMBINER", "UNKNOWN_TYPE"]


class FakeNodes:
    """Nodes that behave as a World says; every answer is given after a turn of the event loop."""

    def __init__(self, world: interpreter.World, *, wires: dict[str, Wire] | None = None) -> None:
        self.world = world
        self.wires = wires or {}
        self.asked: dict[tuple[str, str], Wire] = {}
        self.under_way = 0
        self.most_at_once = 0

    def takes(self, node: Node) -> Wire:
        return self.wires.get(node.name, Wire.JSON)

    async def call(self, node: Node, method: Method, payload: Payload, *, ask: Wire, journey: Journey) -> Payload:
        what = method.rest_path.removeprefix("/")
        self.asked[node.name, what] = ask
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        try:
            answer = self.world.call(node.name, what, text_of(payload))
        except interpreter.NodeError as error:
            raise NodeAnswered(node.name, status_code=500, payload=Payload(str(error).encode())) from error
        if method is Method.ROUTE:
            return Payload(json.dumps({"data": {"ndarray": [[self.world.routes[node.name]]]}}).encode())
        return Payload(json.dumps(answer).encode())


def text_of(payload: Payload) -> str:
    value = json.loads(payload.body)
    return "[" + ",".join(value) + "]" if isinstance(value, list) else str(value)


def run_of(world: interpreter.World, **options: Any) -> tuple[Run, FakeNodes]:
    nodes = FakeNodes(world, **options)
    draw = 0.0 if world.draws_below_ratio else 0.999
    return Run(nodes, Journey("puid"), draw=lambda: draw), nodes


async def predict(graph: dict[str, Any], world: interpreter.World) -> str:
    run, _ = run_of(world)
    answer = await run_graph(graph_of(graph).root, Payload(b'"M"'), run=run, ask=Wire.JSON)
    return text_of(answer)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    """A tree of up to MAX_NODES nodes with any types, methods and A/B tests."""
    size = draw(st.integers(1, MAX_NODES))
    parents = [draw(st.integers(0, place - 1)) for place in range(1, size)]
    nodes: list[dict[str, Any]] = [
        {
            "name": f"n{place}",
            "type": draw(st.sampled_from(TYPES)),
            "methods": draw(st.lists(st.sampled_from(METHODS), max_size=2, unique=True)),
            "children": [],
        }
        for place in range(size)
    ]
    for place, parent in enumerate(parents, start=1):
        nodes[parent]["children"].append(nodes[place])
    for node in nodes:
        if len(node["children"]) == 2 and node["type"] == "UNKNOWN_TYPE" and draw(st.booleans()):
            node["implementation"] = "RANDOM_ABTEST"
    return nodes[0]


def every(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(below for child in node["children"] for below in every(child))]


@st.composite
def situations(draw: st.DrawFn) -> tuple[dict[str, Any], interpreter.World]:
    graph = draw(graphs())
    nodes = every(graph)
    routes = {node["name"]: draw(st.integers(-2, max(-1, len(node["children"]) - 1))) for node in nodes}
    steps = st.sampled_from(["predict", "transform-input", "transform-output", "route", "aggregate", "send-feedback"])
    names = st.sampled_from([node["name"] for node in nodes])
    failing = draw(st.frozensets(st.tuples(names, steps), max_size=3))
    return graph, interpreter.World(routes, failing, draw(st.booleans()))


def outcome(work: Any) -> tuple[str, Any]:
    try:
        return "answer", work()
    except interpreter.NodeError as error:
        return "error", str(error)
    except NodeAnswered as error:
        return "error", error.payload.body.decode()


@settings(max_examples=150, deadline=None)
@given(situations())
def test_run_graph_equals_the_interpreter_on_random_graphs(situation: tuple[dict[str, Any], interpreter.World]) -> None:
    graph, world = situation
    ours = interpreter.World(world.routes, world.failing, world.draws_below_ratio)
    expected = outcome(lambda: interpreter.predict(graph, "M", world))
    assert outcome(lambda: asyncio.run(predict(graph, ours))) == expected
    assert Counter(ours.calls) == Counter(world.calls)


@settings(max_examples=100, deadline=None)
@given(situations())
def test_run_feedback_equals_the_interpreter_on_random_graphs(
    situation: tuple[dict[str, Any], interpreter.World],
) -> None:
    graph, world = situation
    ours = interpreter.World(world.routes, world.failing, world.draws_below_ratio)
    body = Payload(json.dumps({"response": {"meta": {"routing": world.routes}}}).encode())

    async def give() -> str | None:
        run, nodes = run_of(ours)
        nodes.world = _FeedbackWorld(ours)
        answer = await run_feedback(graph_of(graph).root, body, run=run)
        return None if answer is body else text_of(answer)

    expected = outcome(lambda: interpreter.feedback(graph, world.routes, world))
    assert outcome(lambda: asyncio.run(give())) == expected
    assert Counter(ours.calls) == Counter(world.calls)


class _FeedbackWorld(interpreter.World):
    """Every node gets the one feedback body: the interpreter calls it "feedback"."""

    def __init__(self, world: interpreter.World) -> None:
        super().__init__(world.routes, world.failing, calls=world.calls)

    def call(self, node: str, what: str, message: str) -> str:
        assert "response" in message
        return super().call(node, what, "feedback")


def model(name: str, *children: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "MODEL", "children": list(children), **fields}


def router(*children: dict[str, Any]) -> dict[str, Any]:
    return {"name": "router", "type": "ROUTER", "children": list(children)}


async def test_single_model_answers_what_the_node_returned() -> None:
    assert await predict(model("a"), interpreter.World()) == "predict@a(M)"


async def test_chain_of_models_feeds_each_answer_to_the_next() -> None:
    assert await predict(model("a", model("b")), interpreter.World()) == "predict@b(predict@a(M))"


async def test_combiner_gets_the_answers_of_all_children_in_their_order() -> None:
    graph = {"name": "c", "type": "COMBINER", "children": [model("a"), model("b")]}
    assert await predict(graph, interpreter.World()) == "aggregate@c([predict@a(M),predict@b(M)])"


async def test_methods_without_a_type_run_every_step() -> None:
    methods = ["TRANSFORM_INPUT", "ROUTE", "AGGREGATE", "TRANSFORM_OUTPUT"]
    graph = {"name": "n", "type": "UNKNOWN_TYPE", "methods": methods, "children": [model("a"), model("b")]}
    world = interpreter.World(routes={"n": 1})
    inside = "transform-input@n(M)"
    assert await predict(graph, world) == f"transform-output@n(aggregate@n([predict@b({inside})]))"
    assert ("n", "route", inside) in world.calls


@pytest.mark.parametrize(
    ("route", "answer", "called"),
    [(0, "predict@a(M)", {"a"}), (1, "predict@b(M)", {"b"}), (-1, "predict@a(M)", {"a", "b"}), (-2, "M", set())],
)
async def test_router_decides_which_children_run(route: int, answer: str, called: set[str]) -> None:
    world = interpreter.World(routes={"router": route})
    assert await predict(router(model("a"), model("b")), world) == answer
    assert {node for node, what, _ in world.calls if what == "predict"} == called


@pytest.mark.parametrize("route", [2, 99, -3])
async def test_router_with_a_route_to_no_child_is_a_clear_error(route: int) -> None:
    with pytest.raises(RouteError, match=f"router router: route {route} names no child; it has 2") as caught:
        await predict(router(model("a"), model("b")), interpreter.World(routes={"router": route}))
    assert (caught.value.status_code, caught.value.reason) == (500, "ROUTE_INVALID")


async def test_feedback_with_a_route_to_no_child_is_the_client_s_error() -> None:
    run, _ = run_of(interpreter.World())
    body = Payload(b'{"response":{"meta":{"routing":{"router":7}}}}')
    with pytest.raises(FeedbackRouteError) as caught:
        await run_feedback(graph_of(router(model("a"))).root, body, run=run)
    assert caught.value.status_code == 400


@pytest.mark.parametrize(("below", "child"), [(True, "a"), (False, "b")])
async def test_random_ab_test_takes_one_child_without_a_container(below: bool, child: str) -> None:
    graph = {"name": "ab", "implementation": "RANDOM_ABTEST", "children": [model("a"), model("b")]}
    assert await predict(graph, interpreter.World(draws_below_ratio=below)) == f"predict@{child}(M)"


async def test_fan_out_runs_children_at_once_and_the_first_error_by_order_wins() -> None:
    world = interpreter.World(failing=frozenset({("b", "predict"), ("c", "predict")}))
    run, nodes = run_of(world)
    graph = {"name": "all", "type": "COMBINER", "children": [model("a"), model("b"), model("c"), model("d")]}
    with pytest.raises(NodeAnswered, match="b predict"):
        await run_graph(graph_of(graph).root, Payload(b'"M"'), run=run, ask=Wire.JSON)
    assert nodes.most_at_once == 4
    assert ("d", "predict", "M") in world.calls


async def test_routing_and_time_of_every_node_are_recorded() -> None:
    run, _ = run_of(interpreter.World(routes={"router": 1}))
    await run_graph(graph_of(router(model("a"), model("b"))).root, Payload(b'"M"'), run=run, ask=Wire.JSON)
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
    run, nodes = run_of(interpreter.World(), wires=wires)
    await run_graph(graph_of(graph).root, Payload(b'"M"'), run=run, ask=client)
    assert {name: wire for (name, _), wire in nodes.asked.items()} == asked


async def test_output_transformer_is_the_consumer_of_its_children() -> None:
    graph = {"name": "out", "type": "OUTPUT_TRANSFORMER", "children": [model("a")]}
    run, nodes = run_of(interpreter.World(), wires={"out": PB, "a": PB})
    await run_graph(graph_of(graph).root, Payload(b'"M"'), run=run, ask=JS)
    assert nodes.asked == {("a", "predict"): PB, ("out", "transform-output"): JS}
