"""aiohttp's side of the API's connections: their bounds, and a Status for what cannot be read as a request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from slipway.onebox.api.errors import Refused, bad_request
from slipway.onebox.api.responses import refuse

log = logging.getLogger(__name__)
KEEPALIVE_S = 300.0
SHUTDOWN_S = 5.0
MAX_LINE_BYTES = 64 * 1024
"""Of a URL, which may have a long selector, and of one header."""


def _is_ours(record: logging.LogRecord) -> bool:
    """Broken requests are answered, not logged with a traceback: their number is up to the client."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, (web.RequestPayloadError, HttpProcessingError))


http_log = logging.getLogger("slipway.onebox.api.http")
http_log.addFilter(_is_ours)


def make_runner(app: web.Application) -> web.AppRunner:
    """Of the whole API; to be set up, and its ``server`` given to ``protocols``."""
    return web.AppRunner(
        app,
        handler_cancellation=True,
        access_log=None,
        logger=http_log,
        keepalive_timeout=KEEPALIVE_S,
        shutdown_timeout=SHUTDOWN_S,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_LINE_BYTES,
    )


def protocols(server: web.Server | None) -> Callable[[], Connection]:
    """What makes the protocol of each connection that is accepted."""
    if server is None:
        raise RuntimeError("aiohttp set up no server")
    loop = asyncio.get_running_loop()
    return lambda: Connection(server, loop=loop, **server._kwargs)  # noqa: SLF001  - as its call


class Connection(web.RequestHandler):
    """aiohttp's, whose own errors are a Status too."""

    __slots__ = ()

    @property
    def idle_since_s(self) -> float | None:
        """Since when it has waited for its next request, by the event loop's clock; None while it has one."""
        is_idle = self._waiter is not None and not self._waiter.done()  # as aiohttp asks before its own time-out
        return self._next_keepalive_close_time - KEEPALIVE_S if is_idle else None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        log.debug("%s: %s", request.remote, message)
        answer = refuse(_refused(exc))
        answer.force_close()
        return answer


def _refused(error: HttpProcessingError) -> Refused:
    if isinstance(error, LineTooLong):
        return Refused(431, f"the URL or a header is longer than {MAX_LINE_BYTES} bytes")
    return bad_request("the request cannot be read: a method, a path and headers of HTTP/1.1 are expected")
