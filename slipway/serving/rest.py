"""An aiohttp application with the answers that every REST surface of ours shares: errors as JSON, CORS, draining."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import hdrs, web

from slipway.contract.headers import REASON
from slipway.contract.limits import MAX_BODY_BYTES
from slipway.serving.admission import Ticket
from slipway.serving.errors import Failure, failure_of, failure_of_http, is_fault, one_line
from slipway.serving.json_body import dump_json
from slipway.serving.lifecycle import Lifecycle
from slipway.serving.messages import JSON

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RenderError = Callable[[Failure], Mapping[str, Any]]

Finish = Callable[[web.Request, web.StreamResponse], None]
Sign = Callable[[], Mapping[str, str]]
RENDER_ERROR: web.AppKey[RenderError] = web.AppKey("render_error")
"""How an application's errors look, for those that aiohttp finds before there is a request."""
SIGN: web.AppKey[Sign] = web.AppKey("sign")
"""Headers of every answer of an application, of those errors too."""

_WRITTEN: web.RequestKey[Callable[[], None]] = web.RequestKey("written", Callable)  # type: ignore[arg-type]
"""What to call when the reply has been written, or will not be."""

MAX_LOGGED_PATH_CHARS = 200

logger = logging.getLogger(__name__)


def application(
    *,
    lifecycle: Lifecycle,
    render_error: RenderError,
    sign: Sign = dict,
    finish: Finish = lambda _request, _response: None,
    cors_origin: str | None = None,
    cors_headers: str = "",
) -> web.Application:
    """An application whose every error is ``render_error``'s JSON, and whose every answer has the headers of ``sign``.

    ``finish`` sees every answer last, before any of it is written. ``cors_origin`` None echoes the request's Origin.
    """

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await _written(request, await respond(request, handler))
        finally:
            if written := request.get(_WRITTEN):
                written()

    async def respond(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = _preflight(request) or await handler(request)
        except web.HTTPException as exc:
            response = _http_answer(exc, request, render_error)
        except Exception as exc:  # noqa: BLE001 - whatever a handler raises becomes an answer
            response = error_response(logged_failure(exc, request), render_error)
        if not response.prepared:
            add_headers(response, sign())
        _add_cors(request, response, cors_origin, cors_headers)
        finish(request, response)
        if lifecycle.is_draining:
            response.force_close()
        return response

    app = web.Application(middlewares=[answer], client_max_size=MAX_BODY_BYTES)
    app[RENDER_ERROR], app[SIGN] = render_error, sign
    return app


def hold_reply(request: web.Request, ticket: Ticket, size_bytes: int) -> None:
    """Count the bytes of the reply until the client has taken it (see ``Ticket.reply``): a handler's last step."""
    request[_WRITTEN] = ticket.reply(size_bytes)


async def _written(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Where its bytes are counted, the response is written here and not after the handler."""
    if _WRITTEN in request:
        with contextlib.suppress(ConnectionError):  # aiohttp finds it too, and ends the connection
            await response.prepare(request)
            await response.write_eof()
    return response


def add_headers(response: web.StreamResponse, given: Mapping[str, str]) -> None:
    """Those of ``given`` that ``response`` has not."""
    for name, value in given.items():
        response.headers.setdefault(name, value)


def error_response(failure: Failure, render_error: RenderError) -> web.Response:
    """The failure as a REST answer, its machine code in a header too."""
    return web.Response(
        status=failure.status_code,
        body=dump_json(render_error(failure)),
        content_type=JSON,
        headers={REASON: failure.reason},
    )


def logged_failure(error: Exception, request: web.Request) -> Failure:
    """The failure of whatever a handler raised; with its traceback in the log where nobody meant it."""
    failure = failure_of(error)
    if is_fault(error, failure):
        logger.error("%s", told(failure, request), exc_info=error)
    else:
        logger.debug("%s", told(failure, request))
    return failure


def told(failure: Failure, request: web.Request) -> str:
    """The failure as one line of a log: the client chooses the path, and much of the sentence."""
    line = (
        f"{request.method} {request.rel_url.raw_path[:MAX_LOGGED_PATH_CHARS]}: {failure.status_code} {failure.reason}: "
    )
    return line + one_line(failure.info)


def _http_answer(error: web.HTTPException, request: web.Request, render_error: RenderError) -> web.StreamResponse:
    """Refusals of aiohttp itself (404, 405, 413, …) in our form; redirects and the like as they are."""
    if error.status < 400:
        return web.Response(status=error.status, headers=error.headers)
    info = f"{request.method} {request.path[:200]}: {error.reason}"
    response = error_response(failure_of_http(error.status, info), render_error)
    if hdrs.ALLOW in error.headers:
        response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
    return response


def _preflight(request: web.Request) -> web.Response | None:
    """OPTIONS on a path that exists: 200, empty; the match says 405 when only the method was wrong."""
    error = request.match_info.http_exception
    if request.method != hdrs.METH_OPTIONS or not isinstance(error, web.HTTPMethodNotAllowed):
        return None
    return web.Response(headers={hdrs.ALLOW: ", ".join(sorted({*error.allowed_methods, hdrs.METH_OPTIONS}))})


def _add_cors(request: web.Request, response: web.StreamResponse, origin: str | None, headers: str) -> None:
    if response.prepared:
        return
    asked_by = request.headers.get(hdrs.ORIGIN)
    response.headers.setdefault(hdrs.ACCESS_CONTROL_ALLOW_ORIGIN, origin or asked_by or "*")
    if origin is None and asked_by:
        response.headers.setdefault(hdrs.VARY, hdrs.ORIGIN)
    if request.method == hdrs.METH_OPTIONS:
        asked_for = headers or request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
        methods = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_METHOD, "")
        if asked_for:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = asked_for
        if methods:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = methods
