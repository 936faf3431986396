"""Several processes for one component: they share the ports, a supervisor restarts them and joins their metrics.

A worker is this program again, with its number and what it is handed in the environment. One that served
once is restarted for ever; one that ends before it did is why the whole process ends.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import aiohttp
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from slipway.microservice.rest_app import render_failure
from slipway.microservice.restart import hangup_signals
from slipway.microservice.settings import Settings
from slipway.microservice.supervisor import Keeper
from slipway.serving.lifecycle import Lifecycle
from slipway.serving.rest import Handler, application
from slipway.serving.server import Rest, Servers, bound_socket

SCRAPE_TIMEOUT_S = 5.0

logger = logging.getLogger(__name__)


def wants_supervisor(settings: Settings) -> bool:
    return settings.workers > 1 or settings.max_requests > 0


async def supervise(settings: Settings, argv: Sequence[str]) -> int:
    """Run the workers until a signal comes; the exit code. BindError if a port is taken."""
    lifecycle, keepers = Lifecycle(), list[Keeper]()
    lifecycle.stop_on_signals()
    _renew_on_hangup(keepers)
    http = bound_socket(settings.host, settings.http_port, reuse_port=True)
    grpc = None if settings.grpc_port is None else bound_socket(settings.host, settings.grpc_port, reuse_port=True)
    ports = ["--http-port", str(http.getsockname()[1])]
    if grpc is not None:
        ports += ["--grpc-port", str(grpc.getsockname()[1])]
    with http, tempfile.TemporaryDirectory(prefix="slipway-") as folder:
        app = application(lifecycle=lifecycle, render_error=render_failure)
        app.router.add_get(settings.metrics_path, _joined(keepers, settings.metrics_path))
        metrics = [Rest(app, settings.metrics_port)]
        servers = await Servers.start(rest=metrics, grpc_half=None, lifecycle=lifecycle, host=settings.host)
        logger.info("%d workers; metrics %s", settings.workers, servers.rest_addresses[0])
        command = [sys.executable, "-m", "slipway.microservice", *argv, *ports]
        listen = partial(bound_socket, settings.host, http.getsockname()[1], reuse_port=True)
        keepers += [Keeper(command, index, Path(folder), lifecycle, listen) for index in range(settings.workers)]
        codes = await asyncio.gather(*(keeper.keep() for keeper in keepers))
        await servers.stop(0)
    if grpc is not None:
        grpc.close()
    return max(codes)


def _renew_on_hangup(keepers: Sequence[Keeper]) -> None:
    """SIGHUP: code and model anew in a successor of each worker, one after the other; one that cannot load replaces none."""
    renewing: asyncio.Task[None] | None = None

    async def renew() -> None:
        for keeper in keepers:
            await keeper.renew()

    def ask() -> None:
        nonlocal renewing
        if renewing is None or renewing.done():
            renewing = asyncio.get_running_loop().create_task(renew())

    for number in hangup_signals():
        asyncio.get_running_loop().add_signal_handler(number, ask)


def _joined(keepers: Sequence[Keeper], metrics_path: str) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        paths = [path for keeper in keepers if (path := keeper.metrics_socket)]
        texts = await asyncio.gather(*(_scrape(path, metrics_path) for path in paths))
        return web.Response(text=join_expositions(texts), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer


async def _scrape(path: Path, metrics_path: str) -> str:
    """A worker's metrics; empty while it starts or restarts."""
    timeout = aiohttp.ClientTimeout(total=None)
    try:
        async with (
            asyncio.timeout(SCRAPE_TIMEOUT_S),  # aiohttp's `total` may lose a cancellation that comes with it
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)), timeout=timeout) as session,
            session.get(f"http://worker{metrics_path}", raise_for_status=True) as response,
        ):
            return await response.text()
    except (aiohttp.ClientError, OSError, TimeoutError) as exc:
        logger.info("no metrics from %s: %s", path.name, exc)
        return ""


def join_expositions(texts: Iterable[str]) -> str:
    """Several text expositions as one: each family once, with the samples of all of them below its two comments."""
    families: dict[str, tuple[list[str], list[str]]] = {}
    for text in texts:
        comments: list[str] = []
        samples: list[str] = []
        for line in text.splitlines():
            if line.startswith("# HELP "):
                comments, samples = families.setdefault(line.split(" ", 3)[2], ([], []))
            if line.startswith("#"):
                if line not in comments:
                    comments.append(line)
            elif line:
                samples.append(line)
    return "".join(f"{line}\n" for comments, samples in families.values() for line in (*comments, *samples))
