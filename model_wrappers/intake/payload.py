"""What a component is handed → the bytes of one encoded photo."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from model_wrappers.intake.errors import IMAGE_MISSING, IMAGE_UNDECODABLE, PhotoError

KEYS = ("image", "photo", "b64", "binData")
URL_KEYS = ("url", "image_url")
DATA_URL_PREFIX = "data:"
EXPECTED = (
    "Send the photo as an image/* body, as a multipart file, as binData, as base64 in strData, "
    'or as base64 in jsonData {"image": …}.'
)


def encoded_photo(X: Any) -> bytes:
    """Bytes as they are; text, or the value of one of ``KEYS`` in a mapping, as base64 (a data: URL too)."""
    if isinstance(X, bytes | bytearray | memoryview):
        if not X:
            raise PhotoError(IMAGE_MISSING, f"The request holds an empty photo. {EXPECTED}")
        return bytes(X)
    if isinstance(X, str):
        return _from_base64(X)
    if isinstance(X, Mapping):
        for key in KEYS:
            if isinstance(value := X.get(key), str):
                return _from_base64(value)
    raise PhotoError(IMAGE_MISSING, f"The request holds no photo ({type(X).__name__}). {EXPECTED}")


def photo_url(X: Any) -> str | None:
    """The address in a mapping's ``url``, if the client sent one instead of a photo."""
    if not isinstance(X, Mapping):
        return None
    return next((value for key in URL_KEYS if isinstance(value := X.get(key), str)), None)


def _from_base64(text: str) -> bytes:
    if text.startswith(DATA_URL_PREFIX):
        text = text.partition(",")[2]
    try:
        photo = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise PhotoError(IMAGE_UNDECODABLE, f"The text is not base64 ({exc}). {EXPECTED}") from exc
    if not photo:
        raise PhotoError(IMAGE_MISSING, f"The text is empty. {EXPECTED}")
    return photo
