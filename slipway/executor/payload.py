"""A body on its way through the graph: bytes, untouched unless a combiner or a router has to read them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor.errors import CombineError
from slipway.serving import messages
from slipway.serving.errors import ServingError
from slipway.serving.json_body import dump_json, parse_json
from slipway.serving.messages import JSON, PROTOBUF

MAX_INFLATED_BYTES = 64 * 1024 * 1024
"""A compressed answer of a node is inflated up to here."""

INFLATED_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})
"""What ``inflate`` reads, and so what nodes are asked for."""

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_LIST_ENTRY_TAG = b"\x0a"  # SeldonMessageList.seldonMessages: field 1, length-delimited
_HTML_ESCAPES = {
    b"<": b"\\u003c",
    b">": b"\\u003e",
    b"&": b"\\u0026",
    b"\xe2\x80\xa8": b"\\u2028",
    b"\xe2\x80\xa9": b"\\u2029",
}


class Wire(Enum):
    """What a consumer takes: any node takes JSON, some also protobuf."""

    JSON = "json"
    PROTOBUF = "protobuf"


@dataclass(frozen=True, slots=True)
class Payload:
    body: bytes
    content_type: str = JSON
    encoding: str = ""
    """Content-Encoding: empty for a plain body."""
    json_bytes: int | None = None
    """Length of the JSON at the beginning of a V2 body with binary tensors behind it."""
    is_answer: bool = False
    """A node's answer; a client's request and what a combiner is asked are none."""

    @property
    def is_protobuf(self) -> bool:
        return self.content_type.startswith(PROTOBUF)

    @property
    def is_json(self) -> bool:
        media_type = self.content_type.partition(";")[0].strip().lower()
        return media_type == JSON or media_type.endswith("+json")


def inflate(payload: Payload) -> Payload:
    """The payload without its gzip or deflate encoding.

    Raises:
        CombineError: it ends early, is larger than MAX_INFLATED_BYTES, or has another encoding.
    """
    encoding = payload.encoding.lower()
    if encoding in {"", "identity"}:
        return payload
    if encoding not in INFLATED_ENCODINGS:
        raise CombineError(f"a node's answer is {encoding[:40]}: gzip and deflate are read")
    try:
        return replace(payload, body=_inflated(payload.body, encoding), encoding="")
    except zlib.error as error:
        raise CombineError(f"a node's {encoding} answer cannot be inflated: {error}") from error


def _inflated(body: bytes, encoding: str) -> bytes:
    """All members of a gzip body (RFC 1952, 2.2), or the one stream of a zlib body."""
    members, size, rest = [], 0, body
    while rest:
        stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        members.append(stream.decompress(rest, MAX_INFLATED_BYTES - size + 1))
        size += len(members[-1])
        if size > MAX_INFLATED_BYTES:
            raise CombineError(f"a node's {encoding} answer is larger than {MAX_INFLATED_BYTES} bytes inflated")
        if not stream.eof:
            raise CombineError(f"a node's {encoding} answer ends early, after {len(body)} bytes")
        rest = stream.unused_data
    return b"".join(members)


def to_json(payload: Payload) -> Payload:
    """A protobuf SeldonMessage as the contract's JSON; anything else unchanged."""
    if not payload.is_protobuf:
        return payload
    try:
        message = messages.parse_message(payload.body, pb.SeldonMessage)
        return Payload(dump_json(messages.to_json(message)), JSON)
    except ServingError as error:
        raise CombineError(f"a node's protobuf answer cannot be read: {error}") from error


def to_protobuf(payload: Payload) -> Payload:
    """A JSON SeldonMessage as protobuf; what is none stays what it is."""
    if not payload.is_json:
        return payload
    try:
        message = messages.to_proto(parse_json(inflate(payload).body))
    except ServingError:
        return payload
    return Payload(message.SerializeToString(), PROTOBUF, is_answer=payload.is_answer)


def combine(payloads: Sequence[Payload]) -> Payload:
    """What a combiner gets: a SeldonMessageList if every child gave protobuf, else a JSON array of the answers.

    Raises:
        CombineError: an answer is neither a SeldonMessage nor JSON.
    """
    plain = [inflate(payload) for payload in payloads]
    if plain and all(payload.is_protobuf for payload in plain):
        body = b"".join(_LIST_ENTRY_TAG + messages.varint(len(p.body)) + p.body for p in plain)
        return Payload(body, plain[0].content_type)
    texts = [to_json(payload) for payload in plain]
    for place, text in enumerate(texts):
        _check_json(text.body, place)
    return Payload(b"[" + b",".join(t.body for t in texts) + b"]", texts[0].content_type if texts else JSON)


def escape_html(body: bytes) -> bytes:
    r"""JSON with ``<``, ``>``, ``&``, U+2028 and U+2029 written as ``\uXXXX``, as Go's encoder does (contract §3.1)."""
    for letter, escape in _HTML_ESCAPES.items():  # no escape holds a letter; a pattern takes a hundred times as long
        body = body.replace(letter, escape)
    return body


def needs_escapes(body: bytes) -> bool:
    """Whether ``escape_html`` would change it, in a fraction of the time."""
    return any(letter in body for letter in _HTML_ESCAPES)


def with_routing(payload: Payload, routing: dict[str, int]) -> Payload:
    """``meta.routing`` replaced in a SeldonMessage; in JSON only where a ``meta`` object is already there.

    A body that is no SeldonMessage is returned as it is.
    """
    try:
        return _protobuf_with_routing(payload, routing) if payload.is_protobuf else _json_with_routing(payload, routing)
    except ServingError:
        return payload


def _json_with_routing(payload: Payload, routing: dict[str, int]) -> Payload:
    if not payload.is_json:
        return payload
    message = parse_json(inflate(payload).body)
    if not isinstance(message, dict) or not isinstance(message.get("meta"), dict):
        return payload
    message["meta"]["routing"] = dict(routing)
    return Payload(dump_json(message), payload.content_type)


def _protobuf_with_routing(payload: Payload, routing: dict[str, int]) -> Payload:
    message = messages.parse_message(payload.body, pb.SeldonMessage)
    message.meta.routing.clear()
    message.meta.routing.update(routing)
    return Payload(message.SerializeToString(), payload.content_type)


def _check_json(body: bytes, place: int) -> None:
    try:
        parse_json(body, what=f"the answer of child {place}")
    except ServingError as error:
        raise CombineError(f"{error}: it cannot be combined") from error
