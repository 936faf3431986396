"""Built-in implementations: answered by the executor itself, over REST and over gRPC."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor.built_in import average
from slipway.executor.errors import CombineError, GraphError
from slipway.executor.graph import Method
from slipway.executor.payload import Payload, Wire
from slipway.serving.messages import PROTOBUF
from tests.executor.executors import executor, message
from tests.executor.graphs import graph_of
from tests.executor.nodes import Node, Reply, serving


def built_in(name: str, implementation: str, *children: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "implementation": implementation, "children": list(children), "endpoint": None}


def answering(name: str, body: bytes) -> Node:
    node = Node(name)
    node.rest = lambda _: Reply(body)
    node.grpc = lambda _method, _request: pb.SeldonMessage(
        data=pb.DefaultData(tensor=pb.Tensor(shape=[1], values=[len(name)]))
    ).SerializeToString()
    return node


async def test_simple_model_answers_without_a_container() -> None:
    async with executor(built_in("m", "SIMPLE_MODEL")) as client:
        rest = json.loads((await client.post()).body)
        over_grpc, _ = await client.call(message(strData="x"))
    assert rest["data"]["tensor"] == {"shape": [1, 3], "values": [0.1, 0.9, 0.5]}
    assert list(pb.SeldonMessage.FromString(over_grpc).data.tensor.values) == [0.1, 0.9, 0.5]


async def test_simple_router_takes_the_first_child() -> None:
    left, right = Node("l"), Node("r")
    async with (
        serving(left, right),
        executor(built_in("router", "SIMPLE_ROUTER", left.graph("MODEL"), right.graph("MODEL"))) as client,
    ):
        assert (await client.post()).status == 200
    assert [len(node.calls()) for node in (left, right)] == [1, 0]


async def test_average_combiner_averages_its_children_over_both_protocols() -> None:
    left = answering("l", b'{"data":{"names":["a","b"],"ndarray":[[1,2],[3,4]]},"meta":{"tags":{"t":1}}}')
    right = answering("rrr", b'{"data":{"ndarray":[[2,2],[4,8]]},"meta":{"tags":{"u":2},"requestPath":{"r":"i:1"}}}')
    async with (
        serving(left, right),
        executor(built_in("mean", "AVERAGE_COMBINER", left.graph("MODEL"), right.graph("MODEL"))) as client,
    ):
        rest = json.loads((await client.post()).body)
        over_grpc, _ = await client.call(message(strData="x"))
    assert rest["data"] == {"names": ["a", "b"], "ndarray": [[1.5, 2.0], [3.5, 6.0]]}
    assert rest["meta"] == {"tags": {"t": 1.0, "u": 2.0}, "requestPath": {"r": "i:1"}}
    assert list(pb.SeldonMessage.FromString(over_grpc).data.tensor.values) == [2.0]


def of_json(text: str) -> Payload:
    return Payload(text.encode())


def test_average_of_mixed_wires_is_of_the_first_form() -> None:
    tensor = pb.SeldonMessage(data=pb.DefaultData(tensor=pb.Tensor(shape=[2], values=[1, 3])))
    answers = [
        of_json('{"data":{"tensor":{"shape":[2],"values":[3,5]}}}'),
        Payload(tensor.SerializeToString(), PROTOBUF),
    ]
    body = json.loads(average(answers, Wire.JSON, node="mean").body)
    assert body == {"data": {"tensor": {"shape": [2], "values": [2.0, 4.0]}}}


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ('{"strData":"x"}', "has no data with tensor or ndarray"),
        ('{"data":{"tensor":{"shape":[1,2],"values":[1,2]}}}', "one answer is ndarray, another tensor"),
        ('{"data":{"ndarray":[[1]]}}', "lengths differ: 2, 1"),
        ('{"data":{"ndarray":[[1,"x"]]}}', "a number stands beside something else"),
        ('{"data":{"ndarray":[[1,[2]]]}}', "a number stands beside something else"),
        ('{"data":{"ndarray":[[1,true]]}}', "a number stands beside something else"),
        ("[]", "not an object"),
        ("nonsense", "an answer is not JSON"),
    ],
)
def test_answers_without_an_average_are_an_error_that_says_why(other: str, text: str) -> None:
    with pytest.raises(CombineError, match=text) as caught:
        average([of_json('{"data":{"ndarray":[[1,2]]}}'), of_json(other)], Wire.JSON, node="mean")
    assert "node mean" in str(caught.value)


def test_tensors_of_other_shapes_have_no_average() -> None:
    answers = [of_json(f'{{"data":{{"tensor":{{"shape":{shape},"values":[1,2]}}}}}}') for shape in ("[1,2]", "[2,1]")]
    with pytest.raises(CombineError, match=r"shapes differ: \[1, 2\], \[2, 1\]"):
        average(answers, Wire.JSON, node="mean")


def test_node_with_a_container_and_a_type_is_called() -> None:
    node = {"name": "m", "type": "MODEL", "implementation": "SIMPLE_MODEL"}
    assert graph_of(node).root.input is Method.PREDICT


@pytest.mark.parametrize(
    ("implementation", "why"),
    [("SIMPLE_ROUTER", "routes to its first child"), ("AVERAGE_COMBINER", "averages the answers of its children")],
)
def test_built_in_without_children_is_an_error(implementation: str, why: str) -> None:
    with pytest.raises(GraphError, match=f"node x: {implementation} {why}, it has none"):
        graph_of(built_in("x", implementation))
