"""SeldonMessage as JSON and as protobuf, and one into the other (the contract's section 3.7).

The generic converter of protobuf walks descriptors for every number; the payloads are converted by hand here, and the
small rest (meta, status, tftensor) by it.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pybase64
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import ListValue, Value

from slipway.contract.protos import prediction_pb2 as pb
from slipway.serving.errors import ServingError
from slipway.serving.json_body import dump_json, parse_json
from slipway.serving.limits import CONTAINER_VALUES, MAX_VALUES
from slipway.serving.wire import check_fields

JSON = "application/json"
PROTOBUF = "application/x-protobuf"

M = TypeVar("M", bound=Message)
_PAYLOADS = frozenset({"data", "binData", "strData", "jsonData", "customData"})
MISFITS = (json_format.Error, TypeError, ValueError, OverflowError, AttributeError, RecursionError)
"""What protobuf raises for values that do not fit a field."""
_DATA_KINDS = frozenset({"tensor", "ndarray", "tftensor"})
_BIN_DATA_FIRST = re.compile(rb'\s*\{\s*"binData"\s*:\s*"')


def decode_bin_data(text: Any) -> bytes:
    """The bytes of a ``binData`` string; like Seldon's wrapper it drops characters outside of the base64 alphabet."""
    if not isinstance(text, str):
        raise ServingError(f"binData is {type(text).__name__}, not a base64 string")
    try:
        return pybase64.b64decode(text)
    except (binascii.Error, ValueError) as exc:
        raise ServingError(f"binData is not base64: {exc}") from exc


def encode_bin_data(raw: bytes | bytearray | memoryview) -> str:
    return pybase64.b64encode(raw).decode("ascii")


def dump_bin_data(raw: bytes, meta: Mapping[str, Any]) -> bytes:
    """The JSON text of a message with ``binData``: base64 needs no escaping, so the encoder need not read it."""
    return b'{"binData":"' + pybase64.b64encode(raw) + b'","meta":' + dump_json(meta) + b"}"


def parse_json_message(body: bytes) -> Any:
    """The JSON value of a message's text, as ``parse_json``; ``binData`` is bytes already where the text begins with it.

    A photo is most of its message: its base64 is decoded from the text, and the rest is parsed without it.
    """
    begin = _BIN_DATA_FIRST.match(body)
    end = body.find(b'"', begin.end()) if begin else -1
    if not begin or end < 0 or b"binData" in (behind := body[end:]) or b"\\" in behind:  # of two, JSON takes the last
        return parse_json(body)
    try:
        raw = pybase64.b64decode(memoryview(body)[begin.end() : end], validate=True)
    except ValueError:  # escapes, line breaks, no base64 at all
        return parse_json(body)
    return {**parse_json(body[: begin.end()] + behind), "binData": raw}


def varint(number: int) -> bytes:
    """A length as protobuf's wire form has it: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def parse_message(body: bytes, kind: type[M]) -> M:
    """One protobuf message of ``kind`` from its wire form; ServingError 400 if it is none."""
    check_fields(body, kind.DESCRIPTOR)
    message = kind()
    try:
        message.ParseFromString(body)
    except DecodeError as exc:
        raise ServingError(f"the body is not a {kind.DESCRIPTOR.full_name}: {exc}") from exc
    return message


def to_proto(body: Any) -> pb.SeldonMessage:
    """A SeldonMessage from its JSON form; ServingError 400 names what does not fit."""
    try:
        return _build(_object(body, "a SeldonMessage"))
    except MISFITS as exc:
        raise ServingError(f"the body is not a SeldonMessage: {exc}") from exc


def _build(fields: Mapping[str, Any]) -> pb.SeldonMessage:
    message = pb.SeldonMessage()
    fields = {name: part for name, part in fields.items() if part is not None or name == "jsonData"}
    unknown = fields.keys() - _PAYLOADS - {"meta", "status"}
    if unknown:
        raise ServingError(f"unknown fields of a SeldonMessage: {', '.join(sorted(map(str, unknown)))}")
    if len(kinds := sorted(fields.keys() & _PAYLOADS)) > 1:
        raise ServingError(f"a SeldonMessage has one payload, not {', '.join(kinds)}")
    if "meta" in fields:
        message.meta.SetInParent()
        fill_meta(message.meta, _object(fields["meta"], "meta"))
    if "status" in fields:
        json_format.ParseDict(fields["status"], message.status)
    if "data" in fields:
        _fill_data(message.data, _object(fields["data"], "data"))
    elif "binData" in fields:
        message.binData = decode_bin_data(fields["binData"])
    elif "strData" in fields:
        message.strData = _string(fields["strData"], "strData")
    elif "jsonData" in fields:
        fill_value(message.jsonData, fields["jsonData"])
    elif "customData" in fields:
        json_format.ParseDict(fields["customData"], message.customData)
    return message


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ServingError(f"{what} is {type(value).__name__}, not an object")
    return value


def _string(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ServingError(f"{what} is {type(value).__name__}, not a string")
    return value


def fill_meta(meta: pb.Meta, fields: Mapping[str, Any]) -> None:
    """The JSON form of a meta into a protobuf one; raises what ``to_proto`` answers with 400."""
    for key, tag in _object(fields.get("tags") or {}, "meta.tags").items():
        fill_value(meta.tags[key], tag)
    rest = {name: value for name, value in fields.items() if name != "tags"}
    if isinstance(rest.get("puid"), str):  # what nearly every reply has, and half the cost of a small one
        meta.puid = rest.pop("puid")
    if _are_texts(rest.get("requestPath")):
        meta.requestPath.update(rest.pop("requestPath"))
    if rest:
        json_format.ParseDict(rest, meta)


def _are_texts(path: Any) -> bool:
    return isinstance(path, dict) and all(isinstance(part, str) for item in path.items() for part in item)


def _fill_data(data: pb.DefaultData, fields: Mapping[str, Any]) -> None:
    data.SetInParent()
    fields = {name: part for name, part in fields.items() if part is not None}
    unknown = fields.keys() - _DATA_KINDS - {"names"}
    if unknown or len(fields.keys() & _DATA_KINDS) > 1:
        raise ServingError(f"data has names and one of tensor, ndarray, tftensor, not {', '.join(sorted(fields))}")
    data.names.extend(fields.get("names") or [])
    if "tensor" in fields:
        tensor = _object(fields["tensor"], "data.tensor")
        data.tensor.SetInParent()
        data.tensor.shape.extend(tensor.get("shape") or [])
        data.tensor.values.extend(tensor.get("values") or [])
    elif "ndarray" in fields:
        data.ndarray.SetInParent()
        fill_list(data.ndarray, fields["ndarray"])
    elif "tftensor" in fields:
        json_format.ParseDict(fields["tftensor"], data.tftensor)


def fill_list(into: ListValue, items: Any) -> None:
    """Append JSON values to a ListValue."""
    if isinstance(items, str) or not isinstance(items, Sequence):
        raise ServingError(f"{type(items).__name__} where an array is expected")
    add = into.values.add
    for item in items:
        if type(item) is float or type(item) is int:
            add().number_value = item
        else:
            fill_value(add(), item)


def fill_value(into: Value, item: Any) -> None:
    """One JSON value into a protobuf Value; ServingError 400 for what JSON does not have."""
    if item is None:
        into.null_value = 0  # type: ignore[assignment]  # the enum's only member
    elif isinstance(item, bool):
        into.bool_value = item
    elif isinstance(item, (int, float)):
        into.number_value = item
    elif isinstance(item, str):
        into.string_value = item
    elif isinstance(item, Mapping):
        into.struct_value.SetInParent()
        for key, member in item.items():
            fill_value(into.struct_value.fields[_string(key, "an object's key")], member)
    elif isinstance(item, Sequence):
        into.list_value.SetInParent()
        fill_list(into.list_value, item)
    elif callable(plain := getattr(item, "tolist", None)):  # numpy's numbers and arrays
        fill_value(into, plain())
    else:
        raise ServingError(f"{type(item).__name__} is not a JSON value")


def to_json(message: pb.SeldonMessage) -> dict[str, Any]:
    """The JSON form of a SeldonMessage, ready for ``dump_json``."""
    body: dict[str, Any] = {}
    if message.HasField("meta"):
        body["meta"] = part_to_json(message.meta)
    if message.HasField("status"):
        body["status"] = part_to_json(message.status)
    kind = message.WhichOneof("data_oneof")
    if kind == "data":
        body["data"] = _data_to_json(message.data)
    elif kind == "binData":
        body["binData"] = encode_bin_data(message.binData)
    elif kind == "strData":
        body["strData"] = message.strData
    elif kind == "jsonData":
        body["jsonData"] = value_to_json(message.jsonData)
    elif kind == "customData":
        body["customData"] = part_to_json(message.customData)
    return body


def part_to_json(message: Message) -> dict[str, Any]:
    """Any small message through protobuf's own converter; ServingError 400 for what JSON cannot say."""
    try:
        return json_format.MessageToDict(message)
    except MISFITS as exc:
        raise ServingError(f"{message.DESCRIPTOR.full_name} has no JSON form: {exc}") from exc


def _data_to_json(data: pb.DefaultData) -> dict[str, Any]:
    body: dict[str, Any] = {"names": list(data.names)} if data.names else {}
    kind = data.WhichOneof("data_oneof")
    if kind == "tensor":
        body["tensor"] = {"shape": list(data.tensor.shape), "values": list(data.tensor.values)}
    elif kind == "ndarray":
        body["ndarray"] = list_to_json(data.ndarray)
    elif kind == "tftensor":
        body["tftensor"] = part_to_json(data.tftensor)
    return body


def list_to_json(items: ListValue) -> list[Any]:
    """ServingError 400 above MAX_VALUES."""
    return _Reader().read_list(items)


def value_to_json(value: Value) -> Any:
    """A protobuf Value as Python; numbers are floats. ServingError 400 above MAX_VALUES."""
    return _Reader().read(value)


class _Reader:
    """Values of one payload, counted: an empty one takes two bytes on the wire and a microsecond here."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def read(self, value: Value) -> Any:
        kind = value.WhichOneof("kind")
        if kind == "number_value":
            return value.number_value
        if kind == "string_value":
            return value.string_value
        if kind == "list_value":
            return self.read_list(value.list_value)
        if kind == "struct_value":
            fields = value.struct_value.fields
            self._spend(len(fields))
            return {key: self.read(member) for key, member in fields.items()}
        if kind == "bool_value":
            return value.bool_value
        return None

    def read_list(self, items: ListValue) -> list[Any]:
        self._spend(len(items.values))
        return [self.read(item) for item in items.values]

    def _spend(self, count: int) -> None:
        self._left -= count + CONTAINER_VALUES
        if self._left < 0:
            raise ServingError(f"the payload has more than {MAX_VALUES} values")


def feedback_to_proto(body: Any) -> pb.Feedback:
    """A Feedback from its JSON form; ServingError 400 names what does not fit."""
    fields = _object(body, "a Feedback")
    if unknown := fields.keys() - {"request", "response", "truth", "reward"}:
        raise ServingError(f"unknown fields of a Feedback: {', '.join(sorted(map(str, unknown)))}")
    reward = 0.0 if (given := fields.get("reward")) is None else given  # -0.0 stays what it is
    if isinstance(reward, bool) or not isinstance(reward, (int, float)):
        raise ServingError(f"reward is {type(reward).__name__}, not a number")
    feedback = pb.Feedback()
    for name in ("request", "response", "truth"):
        if fields.get(name) is not None:
            getattr(feedback, name).CopyFrom(to_proto(fields[name]))
    try:
        feedback.reward = reward
    except (OverflowError, ValueError) as exc:
        raise ServingError(f"reward does not fit: {exc}") from exc
    return feedback


def feedback_to_json(feedback: pb.Feedback) -> dict[str, Any]:
    """The JSON form of a Feedback."""
    parts: dict[str, Any] = {
        name: to_json(getattr(feedback, name)) for name in ("request", "response", "truth") if feedback.HasField(name)
    }
    has_reward = any(field.name == "reward" for field, _ in feedback.ListFields())  # protobuf lists -0.0, not 0.0
    return {**parts, "reward": feedback.reward} if has_reward else parts
