"""The forms in which a photo travels (docs/requests.md), as a REST body or a gRPC message."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass
from typing import Literal, get_args

from slipway.contract.protos import prediction_pb2 as pb
from slipway.serving.json_body import dump_json
from slipway.serving.messages import JSON, dump_bin_data

Form = Literal["binData", "strData", "jsonData", "image", "multipart"]
"""``binData`` is what every Seldon understands; ``image`` and ``multipart`` exist over REST only."""
FORMS: tuple[Form, ...] = get_args(Form)
GRPC_FORMS: tuple[Form, ...] = ("binData", "strData", "jsonData")
FIELD = "image"
"""Key of a photo in ``jsonData``, name of its part in a form."""


@dataclass(frozen=True)
class Body:
    """What a POST carries."""

    content: bytes
    content_type: str


def photo_body(photo: bytes, form: Form) -> Body:
    """The body of a REST request with this encoded photo."""
    match form:
        case "image":
            return Body(photo, "image/*" if not (kind := image_type(photo)) else kind)
        case "multipart":
            return _multipart(photo)
        case "strData":
            return Body(dump_json({"strData": base64.b64encode(photo).decode()}), JSON)
        case "jsonData":
            return Body(dump_json({"jsonData": {FIELD: base64.b64encode(photo).decode()}}), JSON)
        case "binData":
            return Body(dump_bin_data(photo, {}), JSON)


def photo_message(photo: bytes, form: Form) -> pb.SeldonMessage:
    """The gRPC message with this encoded photo; ``form`` is one of GRPC_FORMS."""
    if form == "binData":
        return pb.SeldonMessage(binData=photo)
    text = base64.b64encode(photo).decode()
    if form == "strData":
        return pb.SeldonMessage(strData=text)
    message = pb.SeldonMessage()
    message.jsonData.struct_value.fields[FIELD].string_value = text
    return message


def image_type(photo: bytes) -> str:
    """The media type that a photo's first bytes say; "" for an unknown one, which the server will name."""
    if photo.startswith(b"RIFF") and photo[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _STARTS if photo.startswith(start)), "")


_STARTS = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG", "image/png"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)


def _multipart(photo: bytes) -> Body:
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{FIELD}"; filename="photo"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return Body(head.encode() + photo + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}")
