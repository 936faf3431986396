"""A request to a reply, on either wire: what a worker thread runs for one call into the component."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.hooks import Answer, Hooks, Verbatim
from slipway.microservice.inputs import Input, input_of_json, input_of_proto
from slipway.microservice.replies import Reply, is_exact_in_proto, reply_to_json, reply_to_proto, reply_to_wire
from slipway.microservice.requests import MESSAGE_KINDS, RestRequest, as_json_message, parse_request
from slipway.serving.accept import Accepted
from slipway.serving.errors import INTERNAL, ServingError
from slipway.serving.json_body import dump_json
from slipway.serving.messages import (
    JSON,
    PROTOBUF,
    dump_bin_data,
    feedback_to_json,
    feedback_to_proto,
    part_to_json,
    to_json,
    to_proto,
)

A = TypeVar("A")
LONG_NUMBER_DIGITS = 309
"""The largest double has so many: an integer with fewer fits."""
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % LONG_NUMBER_DIGITS)


@dataclass(frozen=True)
class RestReply:
    """The answer to a REST call."""

    status: int
    content_type: str
    body: bytes
    component_ms: float


def call_rest(hooks: Hooks, hook: str, request: RestRequest, *, accepted: Accepted) -> RestReply:
    """Parse, call, render. Raises ServingError for a request that does not parse, and whatever the hook raises."""
    message = _parsed(request, MESSAGE_KINDS.get(hook, pb.SeldonMessage), accepted)
    raw = _measured(_raw_rest_call(hooks, hook, message)) if hooks.has_raw(hook, is_proto=False) else None
    if raw is not None and (verbatim := raw[0]) is not None:
        return render_rest(verbatim, hook, accepted=accepted, component_ms=raw[1])
    answer, component_ms = _measured(_normal_call(hooks, hook, message))
    return render_rest(answer, hook, accepted=accepted, component_ms=component_ms)


def handled(hooks: Hooks, call: Callable[[], RestReply]) -> RestReply:
    """``call()``; where it raises, the answer of the component's own ``model_error_handler`` to that, if it has one."""
    begun = time.perf_counter()
    try:
        return call()
    except Exception as exc:
        handler = hooks.component.error_handler
        answer = handler.answer(exc) if handler else None
        if answer is None:
            raise
        component_ms = (time.perf_counter() - begun) * 1000
        return RestReply(answer.status, answer.content_type, answer.body, component_ms)


def _measured(call: Callable[[], A]) -> tuple[A, float]:
    start = time.perf_counter()
    answer = call()
    return answer, (time.perf_counter() - start) * 1000


def input_of_rest(request: RestRequest, *, accepted: Accepted) -> Input:
    """The arguments of ``predict``. Raises ServingError."""
    return _input(_parsed(request, pb.SeldonMessage, accepted))


def _parsed(request: RestRequest, kind: type[Message], accepted: Accepted) -> Any:
    """The message; ServingError 400 for an integer in it that the form in which the caller wants his reply does not have."""
    message = parse_request(request, kind)
    if isinstance(message, Message):  # its numbers are doubles already
        return message
    if not accepted.json and (_LONG_NUMBER.search(request.body) or len(request.query_json) > LONG_NUMBER_DIGITS):
        _check_integers(message)
    return message


def _check_integers(value: Any) -> None:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            _check_integers(member)
    elif type(value) is int:
        try:
            float(value)
        except OverflowError as exc:
            raise ServingError(f"the message has an integer that no {PROTOBUF} reply holds: {exc}") from exc


def render_grpc(answer: Answer) -> bytes:
    """The reply as a SeldonMessage's bytes. Raises ServingError 500 where the component's result has none."""
    return _raw_to_proto(answer.message).SerializeToString() if isinstance(answer, Verbatim) else reply_to_wire(answer)


def call_passthrough(hooks: Hooks, request: RestRequest) -> RestReply:
    """``PAYLOAD_PASSTHROUGH``: predict_raw gets the bytes as they came, and answers with bytes or text."""
    sent = request.query_json or request.body
    answer, component_ms = _measured(lambda: hooks.raw("predict", sent, is_proto=False))
    body = answer.message if answer else None
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes):
        raise _broken(f"under PAYLOAD_PASSTHROUGH predict_raw returns bytes or str, not {type(body).__name__}")
    return RestReply(200, JSON, body, component_ms)


def call_grpc(hooks: Hooks, hook: str, message: Message) -> tuple[bytes, float]:
    """The reply's bytes and the component's milliseconds. Raises ServingError, and whatever the hook raises."""
    raw, component_ms = _measured(lambda: _raw_grpc(hooks, hook, message))
    if raw is not None:
        return render_grpc(raw), component_ms
    answer, component_ms = _measured(_normal_call(hooks, hook, message))
    return render_grpc(answer), component_ms


def call_health(hooks: Hooks) -> bytes:
    """The JSON of the component's health answer; raises what the hook raises."""
    return render_rest(hooks.health_status(), "health_status", accepted=Accepted(proto=False), component_ms=0).body


def _normal_call(hooks: Hooks, hook: str, message: Any) -> Callable[[], Answer]:
    """The hook with its parsed arguments: what only remains is the component's own time."""
    if hook == "send_feedback":
        feedback = _feedback(message)
        return lambda: hooks.send_feedback(feedback)
    if hook == "aggregate":
        requests = [_input(one) for one in _messages_of(message)]
        return lambda: hooks.aggregate(requests)
    request = _input(message)
    named: Callable[[Any], Answer] = getattr(hooks, hook)
    return lambda: named(request)


def _feedback(message: Any) -> pb.Feedback:
    """ServingError 400 for one whose reward would stay in the counter's sum for ever (a Feedback's is a single float)."""
    feedback = message if isinstance(message, pb.Feedback) else feedback_to_proto(as_json_message(message))
    if not math.isfinite(feedback.reward):
        raise ServingError(f"reward {feedback.reward} is not a finite number of 32 bits")
    return feedback


def _input(message: Any) -> Input:
    return input_of_proto(message) if isinstance(message, pb.SeldonMessage) else input_of_json(message)


def _messages_of(message: Any) -> list[Any]:
    """The list of an aggregate call: bare, or in ``seldonMessages``."""
    if isinstance(message, pb.SeldonMessageList):
        return list(message.seldonMessages)
    found = message.get("seldonMessages") if isinstance(message, Mapping) else message
    if not isinstance(found, list):
        raise ServingError("aggregate takes a list of messages, or an object with the list seldonMessages")
    return found


def _raw_rest_call(hooks: Hooks, hook: str, message: Any) -> Callable[[], Verbatim | None]:
    """Raw hooks over REST get JSON values; those of feedback get protobuf, ``send_feedback_rest`` a JSON text."""
    if hook == "send_feedback":
        feedback = _feedback(message)
        return lambda: _raw_feedback(hooks, feedback)
    if isinstance(message, pb.SeldonMessageList):
        message = {"seldonMessages": [_as_sent_in_json(one) for one in message.seldonMessages]}
    elif isinstance(message, pb.SeldonMessage):
        message = _as_sent_in_json(message)
    plain = as_json_message(message)
    return lambda: hooks.raw(hook, plain, is_proto=False)


def _as_sent_in_json(message: pb.SeldonMessage) -> dict[str, Any]:
    """As the node before would have sent it without protobuf: ``names`` stand in every ``data``, also where there are none."""
    body = to_json(message)
    if "data" in body:
        body["data"].setdefault("names", [])
    return body


def _raw_grpc(hooks: Hooks, hook: str, message: Message) -> Verbatim | None:
    if isinstance(message, pb.Feedback):
        return _raw_feedback(hooks, _feedback(message))
    return hooks.raw(hook, message, is_proto=True)


def _raw_feedback(hooks: Hooks, feedback: pb.Feedback) -> Verbatim | None:
    hooks_message = feedback_to_json(feedback) if hooks.component.has("send_feedback_rest") else None
    text = dump_json(hooks_message).decode() if hooks_message is not None else None
    answer = hooks.raw("send_feedback", feedback if text is None else text, is_proto=True)
    if answer is not None:
        hooks.metrics.update_reward(feedback.reward)
    return answer


def _raw_to_proto(message: Any) -> pb.SeldonMessage:
    if isinstance(message, pb.SeldonMessage):
        return message
    try:
        return to_proto(message)
    except ServingError as exc:
        raise _broken(f"the raw hook's reply is not a SeldonMessage: {exc}") from exc


def render_rest(answer: Answer, hook: str, *, accepted: Accepted, component_ms: float) -> RestReply:
    """The reply in the form that the caller takes; ServingError 500 where the component's result has none."""
    try:
        if isinstance(answer, Reply) and _is_sent_as_proto(answer, accepted):
            return RestReply(200, PROTOBUF, reply_to_wire(answer), component_ms)
        if accepted.json and isinstance(answer, Reply) and isinstance(answer.data, bytes) and hook != "send_feedback":
            return RestReply(200, JSON, dump_bin_data(answer.data, answer.meta), component_ms)
        message = _json_form(answer, hook)
        if not accepted.json and isinstance(message, Mapping):
            return RestReply(200, PROTOBUF, _raw_to_proto(message).SerializeToString(), component_ms)
        return RestReply(_status_of(message, hook), JSON, dump_json(message), component_ms)
    except (TypeError, ValueError, RecursionError, json_format.Error) as exc:
        raise _broken(f"the component's reply has no JSON form: {exc}") from exc


def _is_sent_as_proto(reply: Reply, accepted: Accepted) -> bool:
    """Protobuf where it is wanted alone, or where it loses nothing: JSON keeps integers integers."""
    return accepted.proto and (not accepted.json or is_exact_in_proto(reply))


def _json_form(answer: Answer, hook: str) -> Any:
    if isinstance(answer, Reply):
        # Seldon sends feedback replies through protobuf: empty fields and the metrics' default type disappear.
        return part_to_json(reply_to_proto(answer)) if hook == "send_feedback" else reply_to_json(answer)
    message = answer.message
    return part_to_json(message) if isinstance(message, Message) else message


def _status_of(message: Any, hook: str) -> int:
    """A predict reply's own ``status.code`` is the HTTP status."""
    if hook != "predict" or not isinstance(message, Mapping) or not isinstance(message.get("status"), Mapping):
        return 200
    code = message["status"].get("code")
    return code if type(code) is int and 200 <= code <= 599 else 200


def _broken(info: str) -> ServingError:
    return ServingError(info, status_code=500, reason=INTERNAL)
