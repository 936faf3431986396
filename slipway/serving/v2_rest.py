"""What the REST surfaces of the Open Inference Protocol share: error bodies, and bodies with binary tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from slipway.contract.headers import JSON_BYTES
from slipway.serving.errors import NOT_FOUND, Failure, ServingError
from slipway.serving.messages import JSON
from slipway.serving.rest import Handler, error_response, logged_failure

MAX_LENGTH_DIGITS = 12
OCTETS = "application/octet-stream"
SERVER_EXTENSIONS = ("binary_tensor_data",)


def v2_error(failure: Failure) -> dict[str, str]:
    """The protocol's error body; the machine code is in a header."""
    return {"error": failure.info}


def answering(handler: Handler) -> Handler:
    """``handler`` with the protocol's error body for whatever it raises."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a handler raises becomes an answer
            return error_response(logged_failure(error, request), v2_error)

    return answer


async def unknown_path(request: web.Request) -> web.StreamResponse:
    """404 for everything below /v2 that no route matches."""
    info = f"{request.method} {request.path[:200]}: no such path; inferences are POST /v2/models/NAME/infer"
    raise ServingError(info, status_code=404, reason=NOT_FOUND)


def json_bytes_of(given: Mapping[str, str]) -> int | None:
    """The length of the JSON part that the headers of a body with binary tensors announce; None without it.

    Raises ServingError 400 for a header that is no length.
    """
    text = given.get(JSON_BYTES)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_LENGTH_DIGITS):
        raise ServingError(f"Inference-Header-Content-Length is {text[:40]!r}, not a number of bytes")
    return int(text)


def v2_response(body: bytes, json_bytes: int | None, headers: Mapping[str, Any]) -> web.Response:
    """A body with binary tensors behind the JSON says how long that is."""
    if json_bytes is None:
        return web.Response(body=body, content_type=JSON, headers=headers)
    return web.Response(body=body, content_type=OCTETS, headers={**headers, JSON_BYTES: str(json_bytes)})
