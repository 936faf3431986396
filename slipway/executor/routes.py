"""Router answers and recorded routing → the child to take."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import ListValue

from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor.errors import MAX_EXCERPT_BYTES, FeedbackRouteError, RouteError
from slipway.executor.payload import Payload, inflate
from slipway.serving.errors import ServingError
from slipway.serving.json_body import parse_json
from slipway.serving.messages import parse_message, to_proto

ALL_CHILDREN = -1
NO_CHILD = -2


def parse_route(payload: Payload, *, router: str) -> int:
    """The first number of a router's answer: a SeldonMessage with data, or a bare JSON array of ints (contract §3.3).

    Raises:
        RouteError: there is no number in it.
    """
    payload = inflate(payload)
    where = f"router {router}: the answer {payload.body[:MAX_EXCERPT_BYTES]!r}"
    try:
        numbers = _routes_of(payload)
    except ServingError as error:
        raise RouteError(f"{where} is neither a SeldonMessage nor an int array: {error}") from error
    if not numbers:
        raise RouteError(f"{where} holds no route; expected e.g. [[1]]")
    if numbers[0] is None or not math.isfinite(numbers[0]):
        raise RouteError(f"{where} does not start with a number; expected e.g. [[1]]")
    return int(numbers[0])


def check_route(route: int, *, router: str, children: int) -> int:
    """``route`` if it means something for that many children: -2 none, -1 all, k one of them."""
    if route in (ALL_CHILDREN, NO_CHILD) or 0 <= route < children:
        return route
    raise RouteError(f"router {router}: route {route} names no child; it has {children} (0..{children - 1}, -1, -2)")


def check_feedback_route(route: int, *, router: str, children: int) -> int:
    try:
        return check_route(route, router=router, children=children)
    except RouteError as error:
        raise FeedbackRouteError(f"response.meta.routing: {error}") from error


def routing_text(routing: Mapping[str, int]) -> str:
    """The routes that were chosen, as JSON for a header; empty where every message went to all children."""
    chosen = {node: route for node, route in routing.items() if route != ALL_CHILDREN}
    return json.dumps(chosen, separators=(",", ":")) if chosen else ""


def feedback_routing(payload: Payload) -> dict[str, int]:
    """``response.meta.routing`` of a Feedback; empty (every child) where it is missing or cannot be read."""
    try:
        if payload.is_protobuf:
            return dict(parse_message(payload.body, pb.Feedback).response.meta.routing)
        found = parse_json(inflate(payload).body)
    except ServingError:  # the nodes say what is wrong with it
        return {}
    for key in ("response", "meta", "routing"):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return {}
    return {name: route for name, route in found.items() if type(route) is int}


def _routes_of(payload: Payload) -> list[Any]:
    if payload.is_protobuf:
        return _numbers(parse_message(payload.body, pb.SeldonMessage))
    answer = parse_json(payload.body, what="it")
    if isinstance(answer, list):
        if all(type(number) is int for number in answer):
            return answer
        raise ServingError("an array of something else than ints")
    return _numbers(to_proto(answer))


def _numbers(message: pb.SeldonMessage) -> list[Any]:
    data = message.data
    match data.WhichOneof("data_oneof"):
        case "ndarray":
            return _first_of(data.ndarray)
        case "tensor":
            return list(data.tensor.values[:1])
        case "tftensor":
            return list(data.tftensor.int_val[:1])
    return []


def _first_of(values: ListValue) -> list[Any]:
    """The first value, or the first of the first row; None stands for something that is no number."""
    row = values.values
    if row and row[0].WhichOneof("kind") == "list_value":
        row = row[0].list_value.values
    return [value.number_value if value.WhichOneof("kind") == "number_value" else None for value in row[:1]]
