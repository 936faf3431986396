"""The Open Inference Protocol (V2) between nodes: every answer becomes the next request without loss (contract §3.14).

A node's ``outputs`` are the next node's ``inputs``; ids, parameters, datatypes and shapes stay. Binary tensors stay
bytes: over REST the part behind the JSON is passed on as it is, over gRPC ``raw_output_contents`` become
``raw_input_contents``. A node that has more than one hook is told which one is meant in the header ``x-slipway-hook``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from slipway.contract.headers import HOOK
from slipway.contract.protos import inference_pb2 as v2
from slipway.executor.dialect import Question
from slipway.executor.errors import ChainError, RouteError
from slipway.executor.graph import EventKind, Method, Node
from slipway.executor.json_keys import renamed_key
from slipway.executor.payload import Payload, Wire, inflate
from slipway.executor.routes import parse_route
from slipway.serving.errors import ServingError
from slipway.serving.json_body import dump_json, parse_json
from slipway.serving.messages import JSON, PROTOBUF, parse_message, varint

SERVICE = "inference.GRPCInferenceService"
INFER = f"/{SERVICE}/ModelInfer"
HEALTH_PATH = "/v2/health/ready"
BINARY_OUTPUT = "binary_data_output"

_MODEL_NAME_TAG = b"\x0a"  # ModelInferRequest.model_name: field 1, length-delimited
_RAW_INPUT_TAG = b"\x3a"  # ModelInferRequest.raw_input_contents: field 7
_RAW_OUTPUT_TAG = b"\x32"  # ModelInferResponse.raw_output_contents: field 6
_VERBS = {Method.ROUTE: "route", Method.AGGREGATE: "aggregate"}


class V2Dialect:
    """Protocols ``v2`` and ``kfserving``."""

    injects_routing = False
    reads_messages = True
    learn_path = ""
    full_check_path = HEALTH_PATH

    def ask_rest(self, node: Node, method: Method, payload: Payload, *, model: str) -> Question:
        verb = _VERBS.get(method, "infer")
        asked = payload if method is Method.AGGREGATE else request_of_answer(payload)
        label = model_path(node.name, verb)
        return Question(model_path(model or node.name, verb), asked, _hook(method), label)

    def ask_grpc(self, node: Node, method: Method, payload: Payload, *, model: str) -> Question:
        body = _proto_request_of_answer(payload.body) if payload.is_answer else payload.body
        name = (model or node.name).encode()
        named = body + _MODEL_NAME_TAG + varint(len(name)) + name  # of two values of a field the last one counts
        return Question(INFER, Payload(named, PROTOBUF), _hook(method))

    def combine(self, answers: Sequence[Payload]) -> Payload:
        from slipway.executor.v2_tensors import join  # numpy is paid for where tensors are read

        return join([inflate(answer) for answer in answers])

    def route(self, answer: Payload, *, router: str) -> int:
        answer = inflate(answer)
        if not answer.is_protobuf and answer.json_bytes is None and not _has_outputs(answer.body):
            return parse_route(answer, router=router)  # a router of the seldon protocol, or bare numbers
        from slipway.executor.v2_tensors import first_number

        number = first_number(answer, router=router)
        if not math.isfinite(number):
            raise RouteError(f"router {router}: route {number} names no child")
        return int(number)

    def simple_answer(self, payload: Payload, ask: Wire) -> Payload:  # noqa: ARG002 - Dialect's
        from slipway.executor.v2_tensors import simple_answer

        return simple_answer(payload)

    def average(self, answers: Sequence[Payload], ask: Wire, *, node: str) -> Payload:  # noqa: ARG002 - Dialect's
        from slipway.executor.v2_tensors import average

        return average([inflate(answer) for answer in answers], node=node)

    def answer(self, payload: Payload) -> Payload:
        return payload if payload.is_answer else answer_of_request(payload)

    def logged(self, payload: Payload, kind: EventKind) -> Payload:
        if kind is EventKind.RESPONSE:
            payload = self.answer(payload)
        elif kind is EventKind.REQUEST and payload.is_answer and payload.is_protobuf:
            payload = Payload(_proto_request_of_answer(payload.body), PROTOBUF)
        elif kind is EventKind.REQUEST:
            payload = request_of_answer(payload)
        if not payload.is_protobuf:
            return payload
        from slipway.executor.v2_tensors import to_json

        return to_json(payload)


V2 = V2Dialect()


def model_path(model: str, verb: str = "") -> str:
    """``/v2/models/<model>``, with what is asked of it; ``model`` may end in ``/versions/<version>``."""
    return f"/v2/models/{model}/{verb}" if verb else f"/v2/models/{model}"


def _has_outputs(body: bytes) -> bool:
    try:
        found = parse_json(body)
    except ServingError:
        return False
    return isinstance(found, dict) and "outputs" in found


def _hook(method: Method) -> dict[str, str]:
    return {HOOK: method.name.lower()}


def request_of_answer(payload: Payload) -> Payload:
    """A REST answer as the next request; what is no answer stays as it is, to the byte.

    An answer with binary tensors is asked on in binary. Raises ChainError for an answer without tensors.
    """
    if not payload.is_answer:
        return payload
    if payload.json_bytes is None and (body := renamed_key(payload.body, "outputs", "inputs")) is not None:
        return Payload(body, payload.content_type or JSON)
    fields, tail = _split(payload)
    if "outputs" not in fields and "inputs" not in fields:
        found = ", ".join(sorted(map(str, fields)))[:200] or "nothing"
        raise ChainError(f"a node's answer has neither outputs nor inputs, so no node can be asked on: {found}")
    renamed = {"inputs" if key == "outputs" else key: value for key, value in fields.items()}
    if payload.json_bytes is not None:
        renamed["parameters"] = {BINARY_OUTPUT: True, **_parameters(renamed)}
    return _joined(payload, renamed, tail, is_answer=False)


def answer_of_request(payload: Payload) -> Payload:
    """A request that no node answered (a router's -2) in the form of an answer: its inputs are the outputs."""
    if payload.is_protobuf:
        return _proto_answer_of_request(payload)
    fields, tail = _split(payload)
    kept = {"outputs" if key == "inputs" else key: value for key, value in fields.items() if key != "outputs"}
    return _joined(payload, kept, tail, is_answer=True)


def _parameters(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = fields.get("parameters")
    return parameters if isinstance(parameters, dict) else {}


def _split(payload: Payload) -> tuple[dict[str, Any], bytes]:
    size = len(payload.body) if payload.json_bytes is None else payload.json_bytes
    return _object(payload.body[:size]), payload.body[size:]


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = parse_json(body, what="the message")
    except ServingError as error:
        raise ChainError(f"no inference in JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ChainError(f"a message of the V2 protocol is an object, not {type(fields).__name__}")
    return fields


def _joined(payload: Payload, fields: dict[str, Any], tail: bytes, *, is_answer: bool) -> Payload:
    text = dump_json(fields)
    if payload.json_bytes is None:
        return Payload(text, payload.content_type or JSON, is_answer=is_answer)
    return replace(payload, body=text + tail, json_bytes=len(text), is_answer=is_answer)


def _proto_request_of_answer(body: bytes) -> bytes:
    """The two messages number everything alike but raw contents; tensors are copied as they are, unknown fields too."""
    answer = parse_message(body, v2.ModelInferResponse)
    raw = list(answer.raw_output_contents)
    answer.ClearField("raw_output_contents")
    answer.ClearField("model_version")  # of the node that answered
    return _with_raw(answer.SerializeToString(), _RAW_INPUT_TAG, raw)


def _proto_answer_of_request(payload: Payload) -> Payload:
    request = parse_message(payload.body, v2.ModelInferRequest)
    raw = list(request.raw_input_contents)
    request.ClearField("raw_input_contents")
    request.ClearField("outputs")
    body = _with_raw(request.SerializeToString(), _RAW_OUTPUT_TAG, raw)
    return replace(payload, body=body, is_answer=True)


def _with_raw(head: bytes, tag: bytes, raw: Sequence[bytes]) -> bytes:
    parts = [head]
    for content in raw:
        parts += (tag, varint(len(content)), content)
    return b"".join(parts)
