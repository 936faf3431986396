"""The REST connections of one port: how many there may be, who makes room for one more, and the errors that have no request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from aiohttp import web

from slipway.serving import limits
from slipway.serving.errors import MAX_INFO_CHARS, failure_of_http
from slipway.serving.rest import RenderError, Sign, add_headers, error_response

LOOKED_UP = 64
"""Idle connections that are remembered: whoever opens many would make us look at all for each."""

logger = logging.getLogger(__name__)


def acceptor(server: web.Server, *, render_error: RenderError, sign: Sign) -> Callable[[], asyncio.Protocol]:
    """What ``create_server`` calls for each connection that comes.

    At the limit the one that has waited longest for a request is closed for it; the newcomer only where all are at work.
    """
    loop, room = asyncio.get_running_loop(), _Room()

    def accept() -> asyncio.Protocol:
        if len(connections := server.connections) >= limits.MAX_CONNECTIONS and not room.is_made(connections):
            return _Refusal()
        options = server._kwargs  # noqa: SLF001  - as its call
        return _Connection(server, loop=loop, render_error=render_error, sign=sign, **options)

    return accept


class _Room:
    """Closes idle connections, oldest first; a look at all of them finds the next LOOKED_UP ones."""

    def __init__(self) -> None:
        self._oldest: list[tuple[float, _Connection]] = []

    def is_made(self, connections: Sequence[object]) -> bool:
        """Whether one of them was closed: False where each has a request."""
        if self._closed_one():
            return True
        idle = [(one.idle_until_s, one) for one in connections if isinstance(one, _Connection) and one.is_idle]
        self._oldest = sorted(idle, key=itemgetter(0))[:LOOKED_UP][::-1]
        return self._closed_one()

    def _closed_one(self) -> bool:
        while self._oldest:
            until_s, one = self._oldest.pop()
            if one.is_idle and one.idle_until_s == until_s:  # else it had a request since: it is a young one
                one.force_close()
                return True
        return False


class _Connection(web.RequestHandler):
    """aiohttp's, whose own errors (a broken header, an unknown encoding) have a machine code too."""

    __slots__ = ("_render_error", "_sign")

    def __init__(self, server: web.Server, *, render_error: RenderError, sign: Sign, **options: Any) -> None:
        super().__init__(server, **options)
        self._render_error, self._sign = render_error, sign

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request whose head has not come yet, as aiohttp asks before its own time-out."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def idle_until_s(self) -> float:
        """When it would be closed for being idle, by the event loop's clock."""
        return self._next_keepalive_close_time

    async def shutdown(self, timeout: float | None = limits.GRACE_S) -> None:  # noqa: ASYNC109  - aiohttp's
        """Cancels a handler after ``timeout``: aiohttp would wait as long once more, in all longer than a Pod may take to end."""
        handler = self._task_handler
        late = None if timeout is None or handler is None else self._loop.call_later(timeout, handler.cancel)
        try:
            await super().shutdown(timeout)
        finally:
            if late is not None:
                late.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        response = super().handle_error(request, status, exc, message)
        info = message or response.reason
        answer = error_response(failure_of_http(status, info[:MAX_INFO_CHARS]), self._render_error)
        add_headers(answer, self._sign())
        answer.force_close()
        return answer


class _Refusal(asyncio.Protocol):
    """A connection above the limit: closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        logger.warning("connection closed: %d are open and at work, the limit", limits.MAX_CONNECTIONS)
        transport.close()
