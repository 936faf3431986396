"""Reads a request's body, never more of it than the limit and never for longer than the time-out."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.serving.admission import Ticket
from slipway.serving.errors import PAYLOAD_TOO_LARGE, REQUEST_TIMEOUT, ServingError
from slipway.serving.limits import BODY_GRACE_S, BODY_READ_TIMEOUT_S, MIN_BODY_BYTES_PER_S


async def read_body(
    request: web.Request,
    ticket: Ticket,
    *,
    limit_bytes: int = MAX_BODY_BYTES,
    timeout_s: float = BODY_READ_TIMEOUT_S,
) -> bytes:
    """The whole body, inflated if the client compressed it; then the request takes its place.

    Raises ServingError: 413 as soon as the announced or the received size is above ``limit_bytes``, 408 when it takes
    longer than ``patience_s`` says, 429 when the process holds too many bytes or requests, 400 when it ends early or is
    broken.
    """
    if (request.content_length or 0) > limit_bytes:
        raise payload_too_large(limit_bytes)
    body = await _received(request, ticket, limit_bytes, min(timeout_s, patience_s(request.content_length)))
    ticket.take_place()
    return body


def patience_s(announced_bytes: int | None) -> float:
    """How long a body may take to arrive; one of unknown length has all the time that there is."""
    if announced_bytes is None:
        return BODY_READ_TIMEOUT_S
    return min(BODY_READ_TIMEOUT_S, BODY_GRACE_S + announced_bytes / MIN_BODY_BYTES_PER_S)


async def _received(request: web.Request, ticket: Ticket, limit_bytes: int, timeout_s: float) -> bytes:
    content, chunks = request.content, _Chunks(ticket, limit_bytes)
    try:
        if content.is_eof():  # as small bodies do, it came with its head: there is nothing to wait for
            while not content.at_eof():
                chunks.take(content.read_nowait())
            return chunks.joined()
        async with asyncio.timeout(timeout_s):
            async for chunk in content.iter_any():
                chunks.take(chunk)
    except TimeoutError as exc:
        info = f"the body did not arrive within {timeout_s:g} s ({chunks.size_bytes} bytes did)"
        raise ServingError(info, status_code=408, reason=REQUEST_TIMEOUT) from exc
    except (web.RequestPayloadError, HttpProcessingError) as exc:
        raise ServingError("the body is incomplete, or its chunks or its compression are broken") from exc
    return chunks.joined()


class _Chunks:
    """What has come of a body, within its limit and its process's."""

    def __init__(self, ticket: Ticket, limit_bytes: int) -> None:
        self._ticket, self._limit_bytes = ticket, limit_bytes
        self._chunks: list[bytes] = []
        self.size_bytes = 0

    def take(self, chunk: bytes) -> None:
        self.size_bytes += len(chunk)
        if self.size_bytes > self._limit_bytes:
            raise payload_too_large(self._limit_bytes)
        self._ticket.hold(len(chunk))
        self._chunks.append(chunk)

    def joined(self) -> bytes:
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)


def payload_too_large(limit_bytes: int = MAX_BODY_BYTES) -> ServingError:
    """The one answer to a body above the limit."""
    return ServingError(
        f"the request body is larger than {limit_bytes} bytes", status_code=413, reason=PAYLOAD_TOO_LARGE
    )
