"""Random graphs and random behaviour of their nodes, and messages as JSON and protobuf."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor.payload import Payload
from slipway.serving.messages import PROTOBUF, to_json, to_proto
from tests.executor.interpreter import Message, World

MAX_NODES = 12
METHODS = ["TRANSFORM_INPUT", "TRANSFORM_OUTPUT", "ROUTE", "AGGREGATE", "SEND_FEEDBACK"]
LEAVES = ["MODEL", "TRANSFORMER", "OUTPUT_TRANSFORMER", "UNKNOWN_TYPE"]
TYPES = [*LEAVES, "ROUTER", "COMBINER"]
STEPS = ["predict", "transform-input", "transform-output", "route", "aggregate", "send-feedback"]
NEED_CHILDREN = ["SIMPLE_ROUTER", "AVERAGE_COMBINER"]
OUTSIDE = [-(2**31), -3, MAX_NODES, 2**31 - 1]
"""Routes that name a child of no graph."""


@st.composite
def graphs(draw: st.DrawFn, *, ratios: tuple[str, ...] = ("0", "0.5", "1")) -> dict[str, Any]:
    """A tree of up to MAX_NODES nodes with any types, methods, built-ins and A/B tests."""
    size = draw(st.integers(1, MAX_NODES))
    nodes: list[dict[str, Any]] = [
        {
            "name": f"n{place}",
            "type": "",
            "methods": draw(st.lists(st.sampled_from(METHODS), max_size=2, unique=True)),
            "children": [],
        }
        for place in range(size)
    ]
    for place in range(1, size):
        nodes[draw(st.integers(0, place - 1))]["children"].append(nodes[place])
    for node in nodes:
        node["type"] = draw(st.sampled_from(TYPES if node["children"] else LEAVES))
        if node["type"] == "UNKNOWN_TYPE" and draw(st.booleans()):
            node.update(draw(implementations(len(node["children"]), ratios=ratios)))
    return nodes[0]


@st.composite
def implementations(draw: st.DrawFn, children: int, *, ratios: tuple[str, ...]) -> dict[str, Any]:
    """A built-in that a node with so many children may have."""
    fitting = ["SIMPLE_MODEL", *(NEED_CHILDREN if children else []), *(["RANDOM_ABTEST"] if children == 2 else [])]
    chosen = draw(st.sampled_from(fitting))
    if chosen != "RANDOM_ABTEST":
        return {"implementation": chosen, "methods": []}
    ratio = {"name": "ratioA", "value": draw(st.sampled_from(ratios)), "type": "FLOAT"}
    return {"implementation": chosen, "parameters": [ratio]}


def every(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(below for child in node["children"] for below in every(child))]


@st.composite
def situations(draw: st.DrawFn, *, ratios: tuple[str, ...] = ("0", "0.5", "1")) -> tuple[dict[str, Any], World]:
    """A graph and its nodes, of which a few fail, hang, or name children that there are none of."""
    graph = draw(graphs(ratios=ratios))
    nodes = every(graph)
    routes = {node["name"]: draw(st.integers(-2, max(-1, len(node["children"]) - 1))) for node in nodes}
    names = st.sampled_from(sorted(routes))
    for name in draw(st.lists(names, max_size=1)):
        routes[name] = draw(st.sampled_from(OUTSIDE))
    faults = st.frozensets(st.tuples(names, st.sampled_from(STEPS)), max_size=2)
    return graph, World(routes, draw(faults), draw(faults), draw(st.sampled_from([0.25, 0.75])))


START = Message("M")


def json_of(message: Message) -> dict[str, Any]:
    values: Any = list(message.values)
    shaped = [values] if message.form == "ndarray" else {"shape": [1, len(values)], "values": values}
    return {"data": {"names": [message.trace], message.form: shaped}}


def message_of(found: dict[str, Any]) -> Message:
    data = found["data"]
    trace = ",".join(data["names"])
    if "ndarray" in data:
        return Message(trace, tuple(map(float, data["ndarray"][0])))
    return Message(trace, tuple(map(float, data["tensor"]["values"])), "tensor")


def render(message: Message, *, protobuf: bool = False) -> Payload:
    if protobuf:
        return Payload(to_proto(json_of(message)).SerializeToString(), PROTOBUF)
    return Payload(json.dumps(json_of(message)).encode())


def route_of(number: int) -> Message:
    """A router's answer."""
    return Message("", (float(number),))


def read(payload: Payload) -> Message:
    """One message, of either wire."""
    if payload.is_protobuf:
        return message_of(to_json(pb.SeldonMessage.FromString(payload.body)))
    return message_of(json.loads(payload.body))


def read_all(payload: Payload) -> list[Message]:
    """What a combiner is asked."""
    if payload.is_protobuf:
        sent = pb.SeldonMessageList.FromString(payload.body).seldonMessages
        return [message_of(to_json(message)) for message in sent]
    return [message_of(found) for found in json.loads(payload.body)]


def answer_of(world: World, node: str, what: str, asked: Payload) -> Message:
    """What the node says in that world to what it is asked; the world's errors where it fails."""
    if what == "send-feedback":
        return world.call(node, what, Message("feedback"))
    messages = read_all(asked) if what == "aggregate" else [read(asked)]
    answer = world.call(node, what, *messages)
    return route_of(world.routes[node]) if what == "route" else answer
