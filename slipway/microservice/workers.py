"""Several processes for one component: they share the ports, a supervisor restarts them and joins their metrics.

A worker is this program again, with its number and the path of its metrics socket in the environment.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from slipway.microservice.rest_app import render_failure
from slipway.microservice.restart import Workers
from slipway.microservice.settings import Settings
from slipway.serving.lifecycle import Lifecycle
from slipway.serving.rest import Handler, application
from slipway.serving.server import Rest, Servers, bound_socket

NUMBER = "SLIPWAY_WORKER"
METRICS_SOCKET = "SLIPWAY_WORKER_METRICS"
HEALTHY_AFTER_S = 10.0
"""A worker that lived so long is restarted at once and for ever; one that did not is why the whole process ends."""
SCRAPE_TIMEOUT_S = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """What a worker process knows of itself."""

    number: str
    metrics_socket: Path

    def stop_with_supervisor(self, lifecycle: Lifecycle) -> None:
        """Standard input is a pipe from the supervisor: its end, also by SIGKILL, ends the worker."""

        def ended() -> None:
            if not os.read(0, 1024):
                asyncio.get_running_loop().remove_reader(0)
                lifecycle.stop_asked.set()

        asyncio.get_running_loop().add_reader(0, ended)


def this_worker(environment: Mapping[str, str]) -> Worker | None:
    """The worker that this process is; None for a process of its own and for the supervisor."""
    number = environment.get(NUMBER)
    return Worker(number, Path(environment[METRICS_SOCKET])) if number else None


def wants_supervisor(settings: Settings) -> bool:
    return settings.workers > 1 or settings.max_requests > 0


async def supervise(settings: Settings, argv: Sequence[str]) -> int:
    """Run the workers until a signal comes; the exit code. BindError if a port is taken."""
    lifecycle, workers = Lifecycle(), Workers()
    lifecycle.stop_on_signals()
    workers.on_hangup()
    http = bound_socket(settings.host, settings.http_port, reuse_port=True)
    grpc = None if settings.grpc_port is None else bound_socket(settings.host, settings.grpc_port, reuse_port=True)
    ports = ["--http-port", str(http.getsockname()[1])]
    if grpc is not None:
        ports += ["--grpc-port", str(grpc.getsockname()[1])]
    with http, tempfile.TemporaryDirectory(prefix="slipway-") as folder:
        sockets = [Path(folder) / f"{index}.sock" for index in range(settings.workers)]
        app = application(lifecycle=lifecycle, render_error=render_failure)
        app.router.add_get(settings.metrics_path, _joined(sockets, settings.metrics_path))
        metrics = [Rest(app, settings.metrics_port)]
        servers = await Servers.start(rest=metrics, grpc_half=None, lifecycle=lifecycle, host=settings.host)
        logger.info("%d workers; metrics %s", settings.workers, servers.rest_addresses[0])
        command = [sys.executable, "-m", "slipway.microservice", *argv, *ports]
        keepers = [_keep(command, index, path, lifecycle, workers) for index, path in enumerate(sockets)]
        codes = await asyncio.gather(*keepers)
        await servers.stop(0)
    if grpc is not None:
        grpc.close()
    return max(codes)


async def _keep(command: list[str], index: int, metrics_socket: Path, lifecycle: Lifecycle, workers: Workers) -> int:
    """One worker, again and again: 0 after a stop that was asked for, else the code of a worker that failed early."""
    while not lifecycle.stop_asked.is_set():
        environment = {**os.environ, NUMBER: str(index), METRICS_SOCKET: str(metrics_socket)}
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, env=environment)
        workers.running[metrics_socket] = process
        code = await _ended(process, lifecycle)
        if lifecycle.stop_asked.is_set():
            return 0
        metrics_socket.unlink(missing_ok=True)  # noqa: ASYNC240 - one unlink in a temporary folder
        logger.warning("worker %d (pid %d) ended with %d", index, process.pid, code)
        if code != 0 and time.monotonic() - started < HEALTHY_AFTER_S:
            lifecycle.stop_asked.set()
            return code if code > 0 else 1
    return 0


async def _ended(process: asyncio.subprocess.Process, lifecycle: Lifecycle) -> int:
    """Wait for the process; when a stop is asked for, tell it by closing its standard input, and wait on."""
    waiting = asyncio.create_task(process.wait())
    stopping = asyncio.create_task(lifecycle.stop_asked.wait())
    await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if process.stdin is not None:
        process.stdin.close()
    return await waiting


def _joined(sockets: Sequence[Path], metrics_path: str) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        texts = await asyncio.gather(*(_scrape(path, metrics_path) for path in sockets))
        return web.Response(text=join_expositions(texts), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer


async def _scrape(path: Path, metrics_path: str) -> str:
    """A worker's metrics; empty while it starts or restarts."""
    timeout = aiohttp.ClientTimeout(total=SCRAPE_TIMEOUT_S)
    try:
        async with (
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
