"""Each form of a photo is one that the servers read back as the same photo."""

from __future__ import annotations

import pytest

from model_wrappers.intake.payload import encoded_photo
from slipway.client.forms import FORMS, GRPC_FORMS, Form, image_type, photo_body, photo_message
from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.inputs import input_of_json, input_of_proto
from slipway.microservice.requests import RestRequest, parse_request

PHOTO = b"\xff\xd8\xff--\r\n\r\n\x00photo"


@pytest.mark.parametrize("form", FORMS)
def test_rest_body_is_read_back_as_the_photo(form: Form) -> None:
    body = photo_body(PHOTO, form)
    message = parse_request(RestRequest(body.content_type, "", body.content), pb.SeldonMessage)
    assert encoded_photo(input_of_json(message).features) == PHOTO


@pytest.mark.parametrize("form", GRPC_FORMS)
def test_grpc_message_is_read_back_as_the_photo(form: Form) -> None:
    message = pb.SeldonMessage.FromString(photo_message(PHOTO, form).SerializeToString())
    assert encoded_photo(input_of_proto(message).features) == PHOTO


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n", "image/png"),
        (b"GIF89a", "image/gif"),
        (b"BM\0\0", "image/bmp"),
        (b"II*\0", "image/tiff"),
        (b"MM\0*", "image/tiff"),
        (b"RIFF\1\2\3\4WEBP", "image/webp"),
        (b"hello", ""),
    ],
)
def test_media_type_is_told_by_the_first_bytes(start: bytes, kind: str) -> None:
    assert image_type(start) == kind
    assert photo_body(start, "image").content_type == (kind or "image/*")
