"""Answers AdmissionReviews over HTTPS; everything that a caller could make long or large has a bound."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from slipway.controller.settings import Settings
from slipway.serving.listening import bound
from slipway.webhook.answer import NoReview, answer

log = logging.getLogger(__name__)
PATH = "/validate"
MAX_BODY_BYTES = 8 * 1024 * 1024
"""An object twice (as it is and as it was, 3 MiB at most each in an API server) and its envelope."""
MAX_REVIEWS = 16
"""Whose bodies are being read or answered; one more is told to come again, and the failurePolicy decides."""
MAX_CONNECTIONS = 64
"""API servers keep theirs: there are a few. A further one is closed when it is accepted."""
BODY_WITHIN_S = 5.0
"""From the end of the headers to the last byte: the API server itself waits no longer (timeoutSeconds)."""
HANDSHAKE_WITHIN_S = 5.0
FIRST_REQUEST_WITHIN_S = 10.0
"""From the handshake to the end of the first request's headers; a kept connection has IDLE_S for the next ones."""
IDLE_S = 75.0
SHUTDOWN_S = 5.0
LINE_BYTES = 8190
JSON = "application/json"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SILENT: web.AppKey[set[asyncio.BaseProtocol]] = web.AppKey("silent")
"""New connections that no whole request came from yet."""


class Shown:
    """The certificate that new connections are shown; it may be changed while connections are open."""

    def __init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._now: tuple[bytes, bytes] | None = None

    def show(self, certificate: bytes, key: bytes) -> bool:
        """PEM each; False where they are shown already. Raises ssl.SSLError where they do not fit together."""
        if (certificate, key) == self._now:
            return False
        with tempfile.TemporaryDirectory() as folder:  # OpenSSL reads a key from a file only; in a Pod that is memory
            pair = Path(folder) / "pair.pem"
            pair.touch(mode=0o600)
            pair.write_bytes(key + certificate)
            self.context.load_cert_chain(pair)
        self._now = (certificate, key)
        return True


@web.middleware
async def _hear(request: web.Request, handler: Handler) -> web.StreamResponse:
    request.app[SILENT].discard(request.protocol)
    return await handler(request)


def application(settings: Settings) -> web.Application:
    """``POST /validate`` and, for a kubelet, ``GET /readyz``."""
    places = asyncio.Semaphore(MAX_REVIEWS)

    async def validate(request: web.Request) -> web.Response:
        if places.locked():
            raise web.HTTPServiceUnavailable(text=f"{MAX_REVIEWS} reviews are under way: come again\n")
        async with places:
            body = await _body(request)
            said = await asyncio.to_thread(
                _reviewed, body, settings
            )  # an object of 3 MiB takes a while: others are answered
            return web.json_response(said)

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="ready\n")

    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_hear])
    app[SILENT] = set()
    app.router.add_post(PATH, validate)
    app.router.add_get("/readyz", ready)
    return app


async def _body(request: web.Request) -> bytes:
    if request.content_type != JSON:
        raise web.HTTPUnsupportedMediaType(text=f"{JSON} is expected\n")
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            return await request.read()
    except TimeoutError as exc:
        raise web.HTTPRequestTimeout(text=f"the body took longer than {BODY_WITHIN_S:g} s\n") from exc


def _reviewed(body: bytes, settings: Settings) -> dict[str, Any]:
    try:
        return answer(json.loads(body), settings)
    except (NoReview, ValueError, RecursionError) as exc:  # ValueError: no JSON, no UTF-8, a number too long
        log.warning("no review: %s", str(exc)[:200])
        raise web.HTTPBadRequest(text=f"no AdmissionReview: {str(exc)[:200]}\n") from exc


@asynccontextmanager
async def serve(app: web.Application, shown: Shown, host: str, port: int) -> AsyncIterator[int]:
    """Listens until the block ends; the port, which for 0 is a free one. OSError where it is taken."""
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=IDLE_S,
        max_line_size=LINE_BYTES,
        max_field_size=LINE_BYTES,
        shutdown_timeout=SHUTDOWN_S,
    )
    await runner.setup()
    try:
        listening = await asyncio.get_running_loop().create_server(
            _bounded(runner), sock=bound(host, port), ssl=shown.context, ssl_handshake_timeout=HANDSHAKE_WITHIN_S
        )
        try:
            yield int(listening.sockets[0].getsockname()[1])
        finally:
            listening.close()
    finally:
        await runner.cleanup()


def _bounded(runner: web.AppRunner) -> Callable[[], asyncio.BaseProtocol]:
    silent = runner.app[SILENT]

    def accept() -> asyncio.BaseProtocol:
        server = runner.server
        if server is None or len(server.connections) >= MAX_CONNECTIONS:
            return _Refusal()
        connection = server()
        silent.add(connection)
        asyncio.get_running_loop().call_later(FIRST_REQUEST_WITHIN_S, cut, connection)
        return connection

    def cut(connection: web.RequestHandler) -> None:
        if connection in silent:
            silent.discard(connection)
            connection.force_close()

    return accept


class _Refusal(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
