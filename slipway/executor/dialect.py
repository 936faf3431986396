"""How the messages of one protocol are asked of nodes and read by the executor (contract §3.2, §3.14)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor.built_in import average, simple_answer
from slipway.executor.graph import EventKind, Method, Node
from slipway.executor.payload import Payload, Wire, combine, to_json
from slipway.executor.routes import parse_route
from slipway.serving.json_body import dump_json
from slipway.serving.messages import JSON, feedback_to_json, parse_message

STATUS_PATH = "/health/status"
METADATA_PATH = "/metadata"
FULL_CHECK_PATH = "/api/v1.0/health/status"


@dataclass(frozen=True, slots=True)
class Question:
    """One call of a node: a REST path or the full name of a gRPC method, what is sent, and headers besides."""

    path: str
    payload: Payload
    headers: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    """The metrics' name of ``path``, where a client had a part in that."""


class Dialect(Protocol):
    """A protocol of the contract, as the executor speaks it to nodes. ``model``: the name that the client's URL gave."""

    injects_routing: bool
    """Whether messages have a place for the routes taken."""
    reads_messages: bool
    """Whether asking a node takes a look into the message, for which a large one has a thread."""
    learn_path: str
    """What a node is asked once, which tells the wires it takes; empty where there is but one."""
    full_check_path: str
    """What ``--full_health_checks`` asks; empty for nothing more than a connection."""

    def ask_rest(self, node: Node, method: Method, payload: Payload, *, model: str) -> Question:
        """RequestError for a payload that cannot be asked on."""

    def ask_grpc(self, node: Node, method: Method, payload: Payload, *, model: str) -> Question:
        """As ``ask_rest``, over gRPC."""

    def combine(self, answers: Sequence[Payload]) -> Payload:
        """What a combiner is asked; CombineError where the children's answers do not fit together."""

    def route(self, answer: Payload, *, router: str) -> int:
        """The child that a router's answer names; RouteError if it names none."""

    def simple_answer(self, payload: Payload, ask: Wire) -> Payload:
        """The answer of SIMPLE_MODEL to ``payload``."""

    def average(self, answers: Sequence[Payload], ask: Wire, *, node: str) -> Payload:
        """The answer of AVERAGE_COMBINER; CombineError where the children's answers do not fit together."""

    def answer(self, payload: Payload) -> Payload:
        """What the client gets: a request that came back from a graph that no node answered becomes an answer."""

    def logged(self, payload: Payload, kind: EventKind) -> Payload:
        """What a payload log shows of it: JSON where it is protobuf, a request or an answer as ``kind`` says.

        Raises ServingError for a payload that cannot be read.
        """


class SeldonDialect:
    """Protocol ``seldon``: one path for each method, messages as they come."""

    injects_routing = True
    reads_messages = False
    learn_path = METADATA_PATH
    full_check_path = FULL_CHECK_PATH

    def ask_rest(self, node: Node, method: Method, payload: Payload, *, model: str) -> Question:  # noqa: ARG002 - Dialect's
        return Question(method.rest_path, payload)

    def ask_grpc(self, node: Node, method: Method, payload: Payload, *, model: str) -> Question:  # noqa: ARG002 - Dialect's
        return Question(method.grpc_path, payload)

    def combine(self, answers: Sequence[Payload]) -> Payload:
        return combine(answers)

    def route(self, answer: Payload, *, router: str) -> int:
        return parse_route(answer, router=router)

    def simple_answer(self, payload: Payload, ask: Wire) -> Payload:  # noqa: ARG002 - Dialect's
        return simple_answer(ask)

    def average(self, answers: Sequence[Payload], ask: Wire, *, node: str) -> Payload:
        return average(answers, ask, node=node)

    def answer(self, payload: Payload) -> Payload:
        return payload

    def logged(self, payload: Payload, kind: EventKind) -> Payload:
        if kind is EventKind.FEEDBACK and payload.is_protobuf:
            return Payload(dump_json(feedback_to_json(parse_message(payload.body, pb.Feedback))), JSON)
        return to_json(payload)


SELDON: Dialect = SeldonDialect()
