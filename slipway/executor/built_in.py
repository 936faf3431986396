"""What the built-in implementations compute: their nodes need no container (contract §3.4).

Seldon names them, and none but RANDOM_ABTEST does anything there since its executor is no longer the Java one.
SIMPLE_MODEL's numbers are those of that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor.errors import CombineError
from slipway.executor.payload import Payload, Wire, inflate
from slipway.serving.errors import ServingError
from slipway.serving.json_body import dump_json, parse_json
from slipway.serving.messages import PROTOBUF, parse_message, to_json, to_proto
from slipway.serving.meta import merged_meta

SIMPLE_ANSWER: dict[str, Any] = {
    "meta": {},
    "data": {"names": ["class0", "class1", "class2"], "tensor": {"shape": [1, 3], "values": [0.1, 0.9, 0.5]}},
}
KINDS = ("tensor", "ndarray")
"""Forms of ``data`` that can be averaged."""


def simple_answer(ask: Wire) -> Payload:
    """SIMPLE_MODEL: the same answer to everything."""
    return _payload(SIMPLE_ANSWER, ask)


def average(answers: Sequence[Payload], ask: Wire, *, node: str) -> Payload:
    """AVERAGE_COMBINER: the mean of the children's numbers, in the form of the first answer and with its names.

    The meta is the first one's too, but for tags, requestPath and metrics, which are those of all.

    Raises:
        CombineError: an answer is no SeldonMessage with numbers, or they differ in form or shape.
    """
    try:
        messages = [_message(answer) for answer in answers]
        first, kind = messages[0], _kind(messages[0])
        arrays = [_array(message, kind) for message in messages]
        data = {**first["data"], kind: _mean(arrays)}
    except (ServingError, ValueError) as error:
        raise CombineError(f"node {node}: AVERAGE_COMBINER cannot average its children's answers: {error}") from error
    combined = {**first, "data": data}
    merged = {name: part for name, part in merged_meta(one.get("meta", {}) for one in messages).items() if part}
    if meta := {**first.get("meta", {}), **merged}:
        combined["meta"] = meta
    return _payload(combined, ask)


def _message(answer: Payload) -> dict[str, Any]:
    plain = inflate(answer)
    if plain.is_protobuf:
        return to_json(parse_message(plain.body, pb.SeldonMessage))
    return to_json(to_proto(parse_json(plain.body, what="an answer")))


def _kind(message: dict[str, Any]) -> str:
    for kind in KINDS:
        if kind in message.get("data", {}):
            return kind
    raise ValueError(f"an answer has no data with {' or '.join(KINDS)}")


def _array(message: dict[str, Any], kind: str) -> Any:
    if (found := _kind(message)) != kind:
        raise ValueError(f"one answer is {kind}, another {found}")
    return message["data"][kind]


def _mean(arrays: Sequence[Any]) -> Any:
    """Number by number, through lists and a tensor's fields; ValueError where the shapes differ."""
    first = arrays[0]
    if isinstance(first, dict):
        if any(one["shape"] != first["shape"] for one in arrays):
            raise ValueError(f"shapes differ: {', '.join(str(one['shape']) for one in arrays)}")
        return {"shape": first["shape"], "values": _mean([one["values"] for one in arrays])}
    if all(isinstance(one, list) for one in arrays):
        if any(len(one) != len(first) for one in arrays):
            raise ValueError(f"lengths differ: {', '.join(str(len(one)) for one in arrays)}")
        return [_mean(group) for group in zip(*arrays, strict=True)]
    if all(type(one) is float for one in arrays):
        return sum(arrays) / len(arrays)
    raise ValueError("a number stands beside something else")


def _payload(message: dict[str, Any], ask: Wire) -> Payload:
    if ask is Wire.PROTOBUF:
        return Payload(to_proto(message).SerializeToString(), PROTOBUF)
    return Payload(dump_json(message))
