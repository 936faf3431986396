"""A REST request's body, of any content type that the contract or the platform knows, as one message.

JSON, forms and raw photos become the JSON form of a message, in which ``binData`` may be bytes that were never base64;
``application/x-protobuf`` becomes a protobuf message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from google.protobuf.message import Message

from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.multipart import Part, split_parts
from slipway.serving.errors import ServingError
from slipway.serving.json_body import parse_json
from slipway.serving.limits import MAX_FORM_PARTS
from slipway.serving.messages import PROTOBUF, encode_bin_data, parse_json_message, parse_message

MULTIPART = "multipart/form-data"
FORM = "application/x-www-form-urlencoded"
RAW_BYTES = "application/octet-stream"
IMAGE = "image/"

_TEXT_FILES = frozenset(pb.SeldonMessage.DESCRIPTOR.fields_by_name) - {"binData"}
"""Files under these names are text, as in Seldon's wrapper; curl calls a WebP or TIFF photo application/octet-stream."""

NO_JSON = "Can't find JSON in data"


@dataclass(frozen=True)
class RestRequest:
    """What a REST call carries: header, ``?json=`` and body."""

    content_type: str
    query_json: str
    body: bytes

    @property
    def media_type(self) -> str:
        return self.content_type.partition(";")[0].strip().lower()


def parse_request(request: RestRequest, kind: type[Message]) -> Any:
    """The message: JSON values, or a protobuf message of ``kind``; ServingError 400 if there is none."""
    media_type = request.media_type
    if media_type == MULTIPART:
        return message_of_parts(split_parts(request.body, request.content_type))
    if media_type == FORM and (text := _form_json(request.body)):
        return parse_json(text, what="the form field json")
    if request.query_json:
        return parse_json(request.query_json, what="?json=")
    if media_type == PROTOBUF:
        return parse_message(request.body, kind)
    if media_type.startswith(IMAGE) or media_type == RAW_BYTES:
        return _message_of_bytes(request)
    if media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json")):
        return parse_json_message(request.body)
    named = f"Content-Type is {media_type[:100]!r}" if media_type else "no Content-Type"
    raise ServingError(f"{NO_JSON}: {named}; JSON, {MULTIPART}, {PROTOBUF}, {RAW_BYTES} or image/* is expected")


def _message_of_bytes(request: RestRequest) -> dict[str, Any]:
    if not request.body:
        raise ServingError(f"the body of type {request.media_type[:100]} is empty")
    return {"binData": request.body}


def _form_json(body: bytes) -> str:
    try:
        fields = parse_qs(body.decode(), max_num_fields=MAX_FORM_PARTS)
    except ValueError as exc:
        advice = "send a photo with Content-Type: image/jpeg (curl: -H 'Content-Type: image/jpeg')"
        raise ServingError(f"the body of type {FORM} is no form: {advice}") from exc
    return fields.get("json", [""])[0]


def message_of_parts(parts: list[Part]) -> dict[str, Any]:
    """Fields are JSON (``strData``: text); a file is text under a name of a SeldonMessage, else bytes as ``binData``."""
    message: dict[str, Any] = {}
    for part in parts:
        name, value = _field_of_part(part)
        if name in message:
            raise ServingError(f"multipart: more than one part is {name}")
        message[name] = value
    return message


def _field_of_part(part: Part) -> tuple[str, Any]:
    if part.content_type.startswith(IMAGE) or (part.filename is not None and part.name not in _TEXT_FILES):
        return "binData", part.content
    if part.filename is None and part.name != "strData":
        return part.name, parse_json(part.content, what=f"the multipart field {part.name[:80]}")
    try:
        return part.name, part.content.decode()
    except UnicodeDecodeError as exc:
        raise ServingError(f"multipart: {part.name[:80]} is not UTF-8 text at byte {exc.start}") from exc


def as_json_message(message: Any) -> Any:
    """A parsed message as a raw hook gets it: JSON all the way, ``binData`` as base64."""
    if isinstance(message, Mapping) and isinstance(message.get("binData"), bytes):
        return {**message, "binData": encode_bin_data(message["binData"])}
    if isinstance(message, list):
        return [as_json_message(one) for one in message]
    return message


MESSAGE_KINDS: dict[str, type[Message]] = {"aggregate": pb.SeldonMessageList, "send_feedback": pb.Feedback}
"""Hook → protobuf message of its request, where it is not a SeldonMessage."""
