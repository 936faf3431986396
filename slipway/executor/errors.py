"""What can go wrong in the executor; a request's errors carry the HTTP status and the reason that the client sees.

GraphError             the predictor cannot be run (at start, or a new predictor file)
SettingError           a flag or an environment variable makes no sense
RequestError           one request failed (a ServingError, as are an oversized body and an overload)
├── NodeAnswered       a node answered with an error: its status and body go to the client unchanged
├── NodeUnreachable    no connection to a node, or it broke
├── NodeTimeout        a node did not answer in its time
├── AnswerTooLarge     a node's answer is above the limit, of the executor or of the next node
├── DeadlineError      the whole request took too long
├── RouteError         a router's answer names no child
├── FeedbackRouteError the routing in a feedback names no child
├── CombineError       the children's answers cannot be joined
├── ChainError         a node's answer cannot be made the next node's request
├── NotOffered         the graph has something that its protocol does not carry
├── MetadataError      a node's metadata cannot be read
└── UnknownNode        status or metadata of a node that the graph does not have
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import grpc

from slipway.serving.errors import ServingError

if TYPE_CHECKING:  # payload.py raises these errors
    from slipway.executor.payload import Payload

NODE_UNREACHABLE = "NODE_UNREACHABLE"
NODE_TIMEOUT = "NODE_TIMEOUT"
NODE_REFUSED = "NODE_REFUSED"
"""A node's error without a machine code of its own."""
NODE_ANSWER_TOO_LARGE = "NODE_ANSWER_TOO_LARGE"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
ROUTE_INVALID = "ROUTE_INVALID"
FEEDBACK_ROUTING_INVALID = "FEEDBACK_ROUTING_INVALID"
COMBINE_INVALID = "COMBINE_INVALID"
CHAIN_INVALID = "CHAIN_INVALID"
NOT_OFFERED = "NOT_OFFERED"
METADATA_INVALID = "METADATA_INVALID"
NODE_UNKNOWN = "NODE_UNKNOWN"

MAX_EXCERPT_BYTES = 512


class GraphError(Exception):
    """The predictor's graph cannot be run."""


class SettingError(Exception):
    """A setting makes no sense."""


class RequestError(ServingError):
    """A request failed; ``str()`` is the text for the client."""

    http_status = HTTPStatus.INTERNAL_SERVER_ERROR
    machine_code = ""

    def __init__(self, info: str) -> None:
        super().__init__(info, status_code=int(self.http_status), reason=self.machine_code)


class NodeAnswered(RequestError):
    """A node answered non-200 (REST), or with a gRPC status other than OK."""

    def __init__(
        self, node: str, *, status_code: int, payload: Payload, reason: str = "", code: grpc.StatusCode | None = None
    ) -> None:
        excerpt = payload.body[:MAX_EXCERPT_BYTES].decode(errors="replace")
        super().__init__(f"node {node} answered {status_code}: {excerpt}")
        self.node = node
        self.status_code = status_code
        self.payload = payload
        self.reason = reason or NODE_REFUSED
        self.code = code

    @property
    def says_too_large(self) -> bool:
        """Whether the message was more than the node takes; gRPC's own refusal has no machine code."""
        is_full = self.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        return self.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or (is_full and "larger than max" in str(self))


class NodeUnreachable(RequestError):
    http_status = HTTPStatus.SERVICE_UNAVAILABLE
    machine_code = NODE_UNREACHABLE


class NodeTimeout(RequestError):
    http_status = HTTPStatus.GATEWAY_TIMEOUT
    machine_code = NODE_TIMEOUT


class AnswerTooLarge(RequestError):
    http_status = HTTPStatus.BAD_GATEWAY
    machine_code = NODE_ANSWER_TOO_LARGE


class DeadlineError(RequestError):
    http_status = HTTPStatus.GATEWAY_TIMEOUT
    machine_code = DEADLINE_EXCEEDED


class RouteError(RequestError):
    machine_code = ROUTE_INVALID


class FeedbackRouteError(RequestError):
    http_status = HTTPStatus.BAD_REQUEST
    machine_code = FEEDBACK_ROUTING_INVALID


class CombineError(RequestError):
    machine_code = COMBINE_INVALID


class ChainError(RequestError):
    machine_code = CHAIN_INVALID


class NotOffered(RequestError):
    http_status = HTTPStatus.NOT_IMPLEMENTED
    machine_code = NOT_OFFERED


class MetadataError(RequestError):
    machine_code = METADATA_INVALID


class UnknownNode(RequestError):
    machine_code = NODE_UNKNOWN
