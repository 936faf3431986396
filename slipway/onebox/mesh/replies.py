"""The errors that Envoy answers itself, in the contract's JSON (gRPC: the sentence becomes the status message)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from slipway.contract import headers
from slipway.contract.errors import NO_READY_PREDICTOR, component_error, executor_error
from slipway.contract.limits import MAX_BODY_BYTES

NOTHING_READY = "no predictor with traffic is ready"
PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
BODY_TOO_LARGE = f"the request body is larger than {MAX_BODY_BYTES} bytes"
"""Word for word what the servers behind the gateway say (``slipway.serving.body``); a test compares them."""
ROUTE_NOT_FOUND = "ROUTE_NOT_FOUND"
DESTINATION_NOT_FOUND = "DESTINATION_NOT_FOUND"
"""Of a VirtualService whose Service, port or subset is not there."""
MALFORMED_REQUEST = "MALFORMED_REQUEST"
UPGRADE_REFUSED = "UPGRADE_REFUSED"
RATE_LIMITED = "RATE_LIMITED"
LIMIT_REACHED = "more requests than slipway.dev/rate-limit allows: try again later"
ENVOY_SAYS, ENVOY_DETAILS = "{reason}", "{details}"
"""In their place Envoy's own words, which hold nothing of the request: its sentence, and its code (`http1.codec_error`)."""
CALLED, CALLED_IN = "{seldon}", "{namespace}"
"""In their place what a gRPC call's metadata say: the status message is percent-encoded, so anything may stand there."""
MAX_CALLED_CHARS = 253
GRPC_METHODS = ".*tensorflow.*|.*seldon.protos.*|.*inference.*"
"""Paths that routes of SeldonDeployments have; the controller's own (``controller/traffic.py``), a test compares them."""
AS_ANSWERED = 0
"""Code of a reply whose status is not known before."""
JSON = "application/json"


@dataclass(frozen=True)
class LocalReply:
    """One kind of answer: its response flags or its status select it; ``reason`` is the machine code.

    ``grpc_status`` where the one that Envoy derives from the HTTP status is not the right one. ``header``: the name of one
    that the request has to have, and a regular expression for its value. ``only_grpc``: not for others.
    """

    reason: str
    info: str
    code: int
    flags: tuple[str, ...] = ()
    component: bool = False
    grpc_status: int | None = None
    header: tuple[str, str] | None = None
    only_grpc: bool = False

    @property
    def body(self) -> str:
        if self.component:
            return json.dumps(component_error(self.reason, self.info))
        return json.dumps(executor_error(self.code, self.info, self.reason))


# Flags are Envoy's (access log documentation, RESPONSE_FLAGS). The first that matches answers.
LOCAL_REPLIES = (
    LocalReply(PAYLOAD_TOO_LARGE, BODY_TOO_LARGE, 413, component=True),
    LocalReply("REQUEST_TIMEOUT", "the request did not arrive in time", 408),
    LocalReply(
        ROUTE_NOT_FOUND,
        f"no SeldonDeployment {CALLED!r} in namespace {CALLED_IN!r} is served here: the metadata `seldon` and `namespace` "
        "say which is meant",
        404,
        ("NR",),
        grpc_status=5,
        header=(":path", GRPC_METHODS),
        only_grpc=True,
    ),
    LocalReply(ROUTE_NOT_FOUND, "no SeldonDeployment is served under this path and host", 404, ("NR",)),
    LocalReply(NO_READY_PREDICTOR, NOTHING_READY, 503, ("UH", "NC")),
    LocalReply("OVERLOADED", "too many requests are waiting for this predictor", 503, ("UO", "OM")),
    LocalReply("UPSTREAM_TIMEOUT", "the predictor did not answer in time", 504, ("UT", "SI"), grpc_status=4),
    LocalReply(
        "UPSTREAM_UNREACHABLE", "the predictor closed the connection before it answered", 503, ("UF", "UC", "UR")
    ),
    LocalReply("UPSTREAM_PROTOCOL_ERROR", "what the predictor answered is not valid HTTP", 502, ("UPE",)),
    LocalReply("HEADERS_TOO_LARGE", "the request's header fields are too large", 431),
)


GATEWAY_REPLIES = (
    LocalReply(RATE_LIMITED, LIMIT_REACHED, 429, component=True, grpc_status=8),
    LocalReply("UNAUTHENTICATED", f"the token is not accepted: {ENVOY_SAYS}", 401),
    LocalReply(UPGRADE_REFUSED, "no connection is upgraded here", 403, header=("upgrade", ".+")),
    LocalReply("PERMISSION_DENIED", f"this request may not pass the gateway: {ENVOY_SAYS}", 403),
    LocalReply("FAULT_INJECTED", "this error was asked for by the `fault` of a VirtualService", AS_ANSWERED, ("FI",)),
    LocalReply(MALFORMED_REQUEST, f"this is not a valid HTTP request: {ENVOY_DETAILS}", 400),
    LocalReply("HTTP_VERSION_NOT_SUPPORTED", "HTTP/1.1 and HTTP/2 are spoken here, no older version", 426),
    LocalReply("TRANSFER_ENCODING_NOT_SUPPORTED", "chunked is the one Transfer-Encoding that is read here", 501),
)
"""Of filters that only the gateway has, and of clients that speak no HTTP: a hundred listeners of Services need not carry
them."""


def render_local_replies(replies: Iterable[LocalReply] = LOCAL_REPLIES) -> dict[str, Any]:
    """Envoy's ``LocalReplyConfig``: for each kind one mapper for gRPC and one for everything else."""
    return {"mappers": [_mapper(reply, grpc=grpc) for reply in replies for grpc in _kinds(reply)]}


def _kinds(reply: LocalReply) -> tuple[bool, ...]:
    return (True,) if reply.only_grpc else (True, False)


def _mapper(reply: LocalReply, *, grpc: bool) -> dict[str, Any]:
    text = reply.info if grpc else reply.body
    chosen = [*_header_filter(reply), _flag_filter(reply) if reply.flags else _status_filter(reply)]
    added = {headers.REASON: reply.reason}
    if grpc and reply.grpc_status is not None:
        added["grpc-status"] = str(reply.grpc_status)
    return {
        "filter": _all([_GRPC, *chosen] if grpc else chosen),
        "headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in added.items()
        ],
        "body_format_override": {
            "text_format_source": {"inline_string": _template(text, reply)},
            **({} if grpc else {"content_type": JSON}),
        },
    }


def _template(text: str, reply: LocalReply) -> str:
    escaped = text.replace("%", "%%")
    for placeholder, operator in _OPERATORS.items():
        escaped = escaped.replace(placeholder, operator)
    return escaped.replace('"code": 0', '"code": %RESPONSE_CODE%') if reply.code == AS_ANSWERED else escaped


_OPERATORS = {
    ENVOY_SAYS: "%LOCAL_REPLY_BODY%",
    ENVOY_DETAILS: "%RESPONSE_CODE_DETAILS%",
    CALLED: f"%REQ(seldon):{MAX_CALLED_CHARS}%",
    CALLED_IN: f"%REQ(namespace):{MAX_CALLED_CHARS}%",
}
_GRPC = {"header_filter": {"header": {"name": "content-type", "string_match": {"prefix": "application/grpc"}}}}


def _all(filters: list[dict[str, Any]]) -> dict[str, Any]:
    return {"and_filter": {"filters": filters}} if len(filters) > 1 else filters[0]


def _header_filter(reply: LocalReply) -> list[dict[str, Any]]:
    if reply.header is None:
        return []
    name, regex = reply.header
    return [{"header_filter": {"header": {"name": name, "string_match": {"safe_regex": {"regex": regex}}}}}]


def _flag_filter(reply: LocalReply) -> dict[str, Any]:
    return {"response_flag_filter": {"flags": list(reply.flags)}}


def _status_filter(reply: LocalReply) -> dict[str, Any]:
    value = {"default_value": reply.code, "runtime_key": f"slipway.local_reply.{reply.code}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}
