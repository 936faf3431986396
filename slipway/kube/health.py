"""Whether a program that follows the API is ready, answered over HTTP on a Unix socket of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

ROUTE = "/readyz"


@asynccontextmanager
async def serve_health(socket: Path | None, is_ready: Callable[[], bool]) -> AsyncIterator[None]:
    """``GET /readyz``: 200 once ``is_ready``, else 503; no answer from a program that is gone or hangs.

    ``socket`` replaces what an earlier program left there; without one nothing is served.
    """
    if socket is None:
        yield
        return

    async def answer(_: web.Request) -> web.Response:
        ready = is_ready()
        return web.Response(status=200 if ready else 503, text="ready\n" if ready else "not every kind is listed yet\n")

    app = web.Application()
    app.router.add_get(ROUTE, answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        socket.unlink(missing_ok=True)  # noqa: ASYNC240  - one call, before anything is served
        await web.UnixSite(runner, str(socket)).start()
        yield
    finally:
        await runner.cleanup()
