"""Router answers and recorded routing: the contract's behaviours 10 and 11, and what must not crash."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor.errors import RouteError
from slipway.executor.payload import Payload
from slipway.executor.routes import feedback_routing, parse_route
from slipway.serving.messages import PROTOBUF


@pytest.mark.parametrize(
    ("answer", "route"),
    [
        ('{"data":{"ndarray":[[1]]}}', 1),
        ('{"data":{"ndarray":[2]}}', 2),
        ('{"data":{"ndarray":[3,4]}}', 3),
        ('{"data":{"ndarray":[[1,2],[3,4]]}}', 1),
        ('{"data":{"ndarray":[1.9]}}', 1),
        ('{"data":{"ndarray":[-2]}}', -2),
        ('{"data":{"tensor":{"shape":[1,1],"values":[1]}}}', 1),
        ('{"data":{"tftensor":{"dtype":"DT_INT32","intVal":[4]}}}', 4),
        ("[1,2]", 1),
        ("[-1]", -1),
    ],
)
def test_route_is_the_first_number_of_the_answer(answer: str, route: int) -> None:
    assert parse_route(Payload(answer.encode()), router="r") == route


@pytest.mark.parametrize(
    "answer",
    [
        "", "null", "1", "{}", "[]", "[[1]]", "[true]", '["0"]', "[1.5]", '{"data":{}}', '{"data":{"ndarray":[]}}',
        '{"data":{"ndarray":[[]]}}', '{"data":{"ndarray":["0"]}}', '{"data":{"ndarray":[[[0]]]}}',
        '{"data":{"ndarray":[0]},"more":1}', '{"strData":"0"}', '{"data":{"ndarray":[NaN]}}', '{"data":{"ndarray":[1e999]}}',
        "[" * 500,
    ],
)  # fmt: skip
def test_answer_without_a_route_is_an_error_that_shows_it(answer: str) -> None:
    with pytest.raises(RouteError, match="router r: the answer"):
        parse_route(Payload(answer.encode()), router="r")


def test_route_of_a_protobuf_answer() -> None:
    message = pb.SeldonMessage()
    message.data.ndarray.values.add().list_value.values.add().number_value = 1
    assert parse_route(Payload(message.SerializeToString(), PROTOBUF), router="r") == 1


@given(st.binary(max_size=60), st.sampled_from(["application/json", PROTOBUF]))
def test_any_answer_is_a_route_or_a_route_error(body: bytes, kind: str) -> None:
    try:
        assert isinstance(parse_route(Payload(body, kind), router="r"), int)
    except RouteError as error:
        assert error.status_code == 500


@pytest.mark.parametrize(
    ("body", "routing"),
    [
        ({"response": {"meta": {"routing": {"r": 1, "s": 0}}}}, {"r": 1, "s": 0}),
        ({"response": {"meta": {"routing": {"r": "1", "s": True}}}}, {}),
        ({"response": {"meta": []}}, {}),
        ({"reward": 1}, {}),
        ([], {}),
    ],
)
def test_feedback_routing_is_read_where_it_can_be(body: object, routing: dict[str, int]) -> None:
    assert feedback_routing(Payload(json.dumps(body).encode())) == routing


def test_feedback_routing_of_what_cannot_be_read_is_empty() -> None:
    assert feedback_routing(Payload(b"{")) == {}
    assert feedback_routing(Payload(b"\xff", PROTOBUF)) == {}
