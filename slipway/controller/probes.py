"""What a kubelet and Prometheus ask over HTTP: ``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from slipway.controller.metrics import Metrics
from slipway.serving.listening import bound, every_address

MAX_CONNECTIONS = 64
CONNECTION_S = 30.0
"""A connection ends after twice this at most, whatever it does: nobody keeps the probes' places taken."""


class ProbesNotServed(Exception):
    """The port cannot be bound."""


@asynccontextmanager
async def serve_probes(
    port: int | None, metrics: Metrics, *, is_ready: Callable[[], bool], host: str = ""
) -> AsyncIterator[int]:
    """Answers on ``port`` of every address of the Pod (0: a free one, which is yielded; None: nothing is served).

    ``/healthz`` says that the event loop runs. Raises ProbesNotServed.
    """
    if port is None:
        yield 0
        return
    runner = web.AppRunner(_app(metrics, is_ready), access_log=None)
    await runner.setup()
    try:
        try:
            listener = await asyncio.get_running_loop().create_server(
                _Bounded(runner), sock=bound(host or every_address(), port)
            )
        except OSError as exc:
            raise ProbesNotServed(f"--health-port {port}: {exc.strerror}: choose another") from exc
        sweeper = asyncio.create_task(_sweep(runner), name="end old connections")
        async with listener:
            yield listener.sockets[0].getsockname()[1]
        sweeper.cancel()
    finally:
        await runner.cleanup()


def _app(metrics: Metrics, is_ready: Callable[[], bool]) -> web.Application:
    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        known = is_ready()
        return web.Response(status=200 if known else 503, text="ok\n" if known else "not every kind is listed yet\n")

    async def shown(_: web.Request) -> web.Response:
        text, kind = metrics.render()
        return web.Response(body=text, headers={"Content-Type": kind})

    app = web.Application(client_max_size=1)
    for path, handler in (("/healthz", alive), ("/readyz", ready), ("/metrics", shown)):
        app.router.add_get(path, handler)
    return app


class _Bounded:
    """Makes the protocol of each connection; of those beyond the limit one that hangs up."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._server = runner.server

    def __call__(self) -> asyncio.Protocol:
        if self._server is None or len(self._server.connections) >= MAX_CONNECTIONS:
            return _HangUp()
        return self._server()


class _HangUp(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  - a server's connections are
        transport.abort()


async def _sweep(runner: web.AppRunner) -> None:
    old: set[web.RequestHandler] = set()
    while runner.server is not None:
        for connection in old.intersection(runner.server.connections):
            connection.force_close()
        old = set(runner.server.connections)
        await asyncio.sleep(CONNECTION_S)
