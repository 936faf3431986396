"""The REST form of V2 inferences: JSON, with binary tensors behind it where the client asks for them.

Format: the Open Inference Protocol's `inference` request and response, and its binary tensor data extension: a body is
``Inference-Header-Content-Length`` bytes of JSON, then the binary forms of the tensors that have the parameter
``binary_data_size``, in their order.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from slipway.contract.datatypes import BYTES
from slipway.serving.json_body import dump_json, parse_json
from slipway.serving.v2_messages import (
    BINARY_SIZE,
    InferRequest,
    InferResponse,
    RequestedOutput,
    check_count,
    check_parameters,
    without_wire,
)
from slipway.serving.v2_tensors import MAX_RANK, Array, Tensor, array_of_raw, array_of_values, bad, flattened, raw_of

T = TypeVar("T")
CONTENT_TYPE = "content_type"
BASE64 = "base64"
"""Value of CONTENT_TYPE: the strings of a BYTES tensor in JSON are base64 (they need be no UTF-8)."""


@dataclass(frozen=True)
class V2Body:
    """A REST body; ``json_bytes`` None: all of it is JSON."""

    body: bytes
    json_bytes: int | None = None


class _Tail:
    """The binary part of a body, given out piece by piece."""

    def __init__(self, raw: memoryview) -> None:
        self._raw = raw
        self._place = 0

    def take(self, size: Any, what: str) -> memoryview:
        left = len(self._raw) - self._place
        if type(size) is not int or not 0 <= size <= left:
            raise bad(f"{what}: {BINARY_SIZE} {size!r:.40} is not within the {left} bytes that are left of the body")
        self._place += size
        return self._raw[self._place - size : self._place]

    def check_end(self) -> None:
        if left := len(self._raw) - self._place:
            raise bad(f"{left} bytes of the body belong to no tensor")


def split_body(message: V2Body) -> tuple[dict[str, Any], memoryview]:
    """The JSON object and the binary part behind it; ServingError 400 if there is none."""
    size = len(message.body) if message.json_bytes is None else message.json_bytes
    if size > len(message.body):
        raise bad(f"Inference-Header-Content-Length is {size}, the whole body {len(message.body)} bytes")
    fields = parse_json(message.body[:size])
    if not isinstance(fields, dict):
        raise bad(f"the body is {type(fields).__name__}, not an object")
    return fields, memoryview(message.body)[size:]


def parse_infer_request(message: V2Body) -> InferRequest:
    """ServingError 400 for a body that is no inference request."""
    fields, raw = split_body(message)
    inputs = _tensors(fields, "inputs", raw)
    if not inputs:
        raise bad("inputs is empty: an inference takes at least one tensor")
    return InferRequest(
        inputs=inputs,
        id=_text(fields, "id", "the request"),
        parameters=_parameters(fields, "the request"),
        outputs=_each(fields, "outputs", _requested),
        is_raw=message.json_bytes is not None,
    )


def parse_infer_response(message: V2Body) -> InferResponse:
    """ServingError 400 for a body that is no inference response."""
    return infer_response_of(*split_body(message))


def infer_response_of(fields: Mapping[str, Any], raw: memoryview = memoryview(b"")) -> InferResponse:  # noqa: B008 - immutable
    """As ``parse_infer_response``, from the JSON object and the binary part behind it."""
    return InferResponse(
        outputs=_tensors(fields, "outputs", raw),
        id=_text(fields, "id", "the answer"),
        parameters=_parameters(fields, "the answer"),
        model_name=_text(fields, "model_name", "the answer"),
        model_version=_text(fields, "model_version", "the answer"),
    )


def render_infer_response(response: InferResponse, *, binary: Callable[[str], bool]) -> V2Body:
    """``binary``: whether the output of that name goes behind the JSON."""
    fields = {"model_name": response.model_name, "model_version": response.model_version, "id": response.id}
    named = {name: value for name, value in fields.items() if value}
    return _render(named, response.parameters, "outputs", response.outputs, binary)


def render_infer_request(request: InferRequest, *, binary: Callable[[str], bool]) -> V2Body:
    """``binary``: whether the input of that name goes behind the JSON."""
    named: dict[str, Any] = {"id": request.id} if request.id else {}
    return _render(named, request.parameters, "inputs", request.inputs, binary, outputs=request.outputs)


def _render(
    named: dict[str, Any],
    parameters: Mapping[str, Any],
    key: str,
    tensors: tuple[Tensor, ...],
    binary: Callable[[str], bool],
    *,
    outputs: tuple[RequestedOutput, ...] = (),
) -> V2Body:
    tails: list[bytes] = []
    entries: list[dict[str, Any]] = []
    for tensor in tensors:
        entry, tail = _entry(tensor, is_binary=binary(tensor.name))
        entries.append(entry)
        tails += tail
    fields = {**named, **({"parameters": dict(parameters)} if parameters else {}), key: entries}
    if outputs:
        fields["outputs"] = [{"name": one.name, "parameters": dict(one.parameters)} for one in outputs]
    text = dump_json(fields)
    return V2Body(b"".join((text, *tails)), len(text)) if tails else V2Body(text)


def _entry(tensor: Tensor, *, is_binary: bool) -> tuple[dict[str, Any], list[bytes]]:
    entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    parameters = without_wire(tensor.parameters)
    tails: list[bytes] = []
    if is_binary:
        tails = [raw_of(tensor)]
        parameters[BINARY_SIZE] = len(tails[0])
    elif tensor.datatype == BYTES:
        entry["data"], kind = _texts(tensor.array.ravel().tolist())
        parameters.update(kind)
    else:
        entry["data"] = tensor.array.ravel().tolist()
    return ({**entry, "parameters": parameters} if parameters else entry), tails


def _texts(items: list[bytes]) -> tuple[list[str], dict[str, str]]:
    """As text where all are UTF-8, else as base64, which the parameter says."""
    try:
        return [item.decode() for item in items], {}
    except UnicodeDecodeError:
        return [base64.b64encode(item).decode("ascii") for item in items], {CONTENT_TYPE: BASE64}


def _tensors(fields: Mapping[str, Any], key: str, raw: memoryview) -> tuple[Tensor, ...]:
    if key not in fields:
        raise bad(f"the body has no {key}; found {', '.join(sorted(map(str, fields))) or 'nothing'}"[:500])
    tail = _Tail(raw)
    tensors = _each(fields, key, lambda entry, what: _tensor(entry, what, tail))
    tail.check_end()
    return tensors


def _tensor(entry: Mapping[str, Any], what: str, tail: _Tail) -> Tensor:
    name, datatype = _required_text(entry, "name", what), _required_text(entry, "datatype", what)
    shape = entry.get("shape")
    if not isinstance(shape, list) or len(shape) > MAX_RANK or not all(type(size) is int for size in shape):
        raise bad(f"{what}: shape is not a list of at most {MAX_RANK} integers")
    parameters = _parameters(entry, what)
    array: Array
    if BINARY_SIZE in parameters:
        if "data" in entry:
            raise bad(f"{what}: has data and {BINARY_SIZE}")
        array = array_of_raw(tail.take(parameters[BINARY_SIZE], what), datatype, shape, what)
    else:
        values = flattened(entry.get("data"), shape, what)
        if datatype == BYTES and parameters.get(CONTENT_TYPE) == BASE64:
            values = [_bytes_of(value, what) for value in values]
            del parameters[CONTENT_TYPE]  # it says how the strings are written, not what they are
        array = array_of_values(values, datatype, shape, what)
    return Tensor(name, datatype, array, without_wire(parameters))


def _bytes_of(text: Any, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as exc:
        raise bad(f"{what}: a value is not base64: {exc}") from exc


def _requested(entry: Mapping[str, Any], what: str) -> RequestedOutput:
    parameters = _parameters(entry, what)
    return RequestedOutput(_required_text(entry, "name", what), parameters)


def _each(fields: Mapping[str, Any], key: str, read: Callable[[Mapping[str, Any], str], T]) -> tuple[T, ...]:
    entries = fields.get(key)
    if entries is None:
        return ()
    if not isinstance(entries, list):
        raise bad(f"{key} is {type(entries).__name__}, not a list")
    check_count(entries, key)
    found = []
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise bad(f"{key}[{place}] is {type(entry).__name__}, not an object")
        found.append(read(entry, f"{key}[{place}]"))
    return tuple(found)


def _parameters(fields: Mapping[str, Any], what: str) -> dict[str, Any]:
    parameters = fields.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise bad(f"{what}: parameters is {type(parameters).__name__}, not an object")
    check_parameters(parameters, what)
    return dict(parameters)


def _text(fields: Mapping[str, Any], key: str, what: str) -> str:
    value = fields.get(key)
    if value is not None and not isinstance(value, str):
        raise bad(f"{what}: {key} is {type(value).__name__}, not a string")
    return value or ""


def _required_text(fields: Mapping[str, Any], key: str, what: str) -> str:
    if not (value := _text(fields, key, what)):
        raise bad(f"{what}: has no {key}")
    return value
