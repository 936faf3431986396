"""Protocol tensorflow between nodes: TensorFlow Serving's REST paths and its Predict (contract §3.2, §3.14)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from slipway.contract.protos import tensorflow_serving_pb2 as tf
from slipway.executor.dialect import Question
from slipway.executor.errors import ChainError, NotOffered, RouteError
from slipway.executor.graph import EventKind, Method, Node
from slipway.executor.json_keys import renamed_key
from slipway.executor.payload import Payload, Wire, combine, inflate
from slipway.executor.routes import parse_route
from slipway.serving.errors import ServingError
from slipway.serving.json_body import dump_json, parse_json
from slipway.serving.messages import JSON, PROTOBUF, parse_message, part_to_json

PREDICTIONS = "tensorflow.serving.PredictionService"
MODELS = "tensorflow.serving.ModelService"
PREDICT = f"/{PREDICTIONS}/Predict"
NEXT_KEYS: Mapping[str, str] = {"predictions": "instances", "outputs": "inputs"}
"""An answer's key → the next request's: row format, and column format."""
_VERBS = {Method.ROUTE: "route", Method.AGGREGATE: "aggregate"}


class TensorflowDialect:
    """TensorFlow Serving's messages; built-in models and combiners, whose answers have no form in it, are not offered."""

    injects_routing = False
    reads_messages = True
    learn_path = ""
    full_check_path = ""

    def ask_rest(self, node: Node, method: Method, payload: Payload, *, model: str) -> Question:
        verb = _VERBS.get(method, "predict")
        asked = payload if method is Method.AGGREGATE else request_of_answer(payload)
        return Question(f"{model_path(model or node.name)}:{verb}", asked, label=f"{model_path(node.name)}:{verb}")

    def ask_grpc(self, node: Node, method: Method, payload: Payload, *, model: str) -> Question:
        if method in _VERBS:
            raise NotOffered(f"node {node.name}: a {method.name} has no gRPC method in protocol tensorflow; use REST")
        request = (
            _proto_request_of_answer(payload) if payload.is_answer else parse_message(payload.body, tf.PredictRequest)
        )
        request.model_spec.name = model or node.name
        return Question(PREDICT, Payload(request.SerializeToString(), PROTOBUF))

    def combine(self, answers: Sequence[Payload]) -> Payload:
        if any(answer.is_protobuf for answer in answers):
            raise NotOffered("a combiner has no gRPC method in protocol tensorflow; use REST")
        return combine(answers)

    def route(self, answer: Payload, *, router: str) -> int:
        """From ``predictions``, or any form that routers of the seldon protocol answer in."""
        found = parse_json(inflate(answer).body, what=f"router {router}: the answer")
        if isinstance(found, dict) and "predictions" in found:
            value = found["predictions"]
            while isinstance(value, list) and value:
                value = value[0]
            if type(value) is not int:
                raise RouteError(f"router {router}: predictions hold no route; expected e.g. [[1]]")
            return value
        return parse_route(answer, router=router)

    def simple_answer(self, payload: Payload, ask: Wire) -> Payload:  # noqa: ARG002 - Dialect's
        raise NotOffered("SIMPLE_MODEL answers in the protocols seldon and v2 only")

    def average(self, answers: Sequence[Payload], ask: Wire, *, node: str) -> Payload:  # noqa: ARG002 - as above
        raise NotOffered(f"node {node}: AVERAGE_COMBINER averages in the protocols seldon and v2 only")

    def answer(self, payload: Payload) -> Payload:
        return payload

    def logged(self, payload: Payload, kind: EventKind) -> Payload:
        """Protobuf in its own JSON form: TensorFlow Serving's REST form has no place for every dtype."""
        if not payload.is_protobuf:
            return request_of_answer(payload) if kind is EventKind.REQUEST else payload
        message: Message
        if kind is EventKind.REQUEST and payload.is_answer:
            message = _proto_request_of_answer(payload)
        else:
            message = parse_message(payload.body, tf.PredictResponse if payload.is_answer else tf.PredictRequest)
        return Payload(dump_json(part_to_json(message)), JSON)


TENSORFLOW = TensorflowDialect()


def model_path(model: str) -> str:
    """``/v1/models/<model>``; ``model`` may end in ``/versions/<version>``."""
    return f"/v1/models/{model}"


def request_of_answer(payload: Payload) -> Payload:
    """A REST answer as the next request; what is no answer stays as it is, to the byte.

    Raises ChainError for an answer without ``predictions``, ``outputs``, ``instances`` or ``inputs``.
    """
    if not payload.is_answer:
        return payload
    for old, new in NEXT_KEYS.items():
        if (body := renamed_key(payload.body, old, new)) is not None:
            return Payload(body, payload.content_type or JSON)
    try:
        fields: Any = parse_json(payload.body, what="a node's answer")
    except ServingError as error:
        raise ChainError(str(error)) from error
    if not isinstance(fields, dict) or not fields.keys() & {*NEXT_KEYS, *NEXT_KEYS.values()}:
        raise ChainError("a node's answer has neither predictions nor outputs, so no node can be asked on")
    renamed = {NEXT_KEYS.get(key, key): value for key, value in fields.items()}
    return Payload(dump_json(renamed), payload.content_type or JSON)


def _proto_request_of_answer(payload: Payload) -> tf.PredictRequest:
    answer = parse_message(payload.body, tf.PredictResponse)
    request = tf.PredictRequest()
    for name, tensor in answer.outputs.items():
        request.inputs[name].CopyFrom(tensor)
    return request
