"""Answers on their way to the client: one that does not read is cut off, and all together take a bounded memory."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

from slipway.onebox.api.errors import Refused

log = logging.getLogger(__name__)
WRITE_TIMEOUT_S = 30.0
"""A client that takes nothing for so long is cut off."""
SLICE_BYTES = 32 * 1024
"""Written at once; a transport holds about twice as much before a writer has to wait."""
MAX_UNSENT_BYTES = 256 * 1024 * 1024
"""Bodies that are being sent, all together; further large ones are 429. One alone may be larger."""


async def send(request: web.Request, response: web.StreamResponse, chunk: bytes) -> None:
    """Write ``chunk``. ConnectionError where the client is gone, or has been cut off because it does not read."""
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await response.write(chunk)
    except TimeoutError as exc:
        log.info("%s %s: nothing was read within %s s: cut off", request.method, request.path, WRITE_TIMEOUT_S)
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client does not read") from exc


class Sender:
    """Sends finished answers."""

    def __init__(self) -> None:
        self._unsent_bytes = 0

    async def deliver(self, request: web.Request, answer: web.Response) -> web.StreamResponse:
        """``answer`` itself where it is small, else sent by now, a slice at a time. Refused 429."""
        body = answer.body
        if not isinstance(body, bytes) or len(body) <= SLICE_BYTES:
            return answer
        if self._unsent_bytes and self._unsent_bytes + len(body) > MAX_UNSENT_BYTES:
            message = (
                "too many large answers are waiting for their clients to read them: ask again, or for less with limit"
            )
            raise Refused(429, message, reason="TooManyRequests", details={"retryAfterSeconds": 1})
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        response.content_length = len(body)
        self._unsent_bytes += len(body)
        try:
            await response.prepare(request)
            for start in range(0, len(body), SLICE_BYTES):
                await send(request, response, body[start : start + SLICE_BYTES])
            await response.write_eof()
        finally:
            self._unsent_bytes -= len(body)
        return response
