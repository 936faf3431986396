"""A running executor: both servers, the clients, and what follows the predictor file."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from slipway.executor.engine import Engine
from slipway.executor.graph import Graph
from slipway.executor.predictor import PredictorFile
from slipway.executor.protocols import PROTOCOLS
from slipway.executor.settings import Settings
from slipway.executor.timeouts import CallLimits
from slipway.serving.lifecycle import Lifecycle
from slipway.serving.lifeline import lifeline
from slipway.serving.server import Grpc, Rest, Servers
from slipway.serving.tracing import open_tracing

LOG = logging.getLogger(__name__)


@asynccontextmanager
async def running(
    graph: Graph, *, settings: Settings, limits: CallLimits, lifecycle: Lifecycle
) -> AsyncIterator[Servers]:
    """Servers that accept requests for ``graph``; on leaving they stop, cancelling what is still under way.

    Raises:
        BindError: a port is taken.
        TracingError: traces are to be sent, and this environment cannot.
    """
    tracing = open_tracing(settings.tracing)
    dialect = PROTOCOLS[settings.protocol or "seldon"].dialect
    engine = Engine(graph, settings=settings, limits=limits, dialect=dialect, tracing=tracing)
    servers = await _listen(engine, settings=settings, limits=limits, lifecycle=lifecycle)
    LOG.info("REST on port %d, gRPC on port %d", servers.rest_ports[0], servers.grpc_port)
    followers = _followers(engine, settings)
    try:
        yield servers
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        await servers.stop(0)
        await asyncio.gather(engine.close(), asyncio.to_thread(tracing.close))  # each waits for its own receiver


async def serve(graph: Graph, *, settings: Settings, limits: CallLimits) -> int:
    """Serve until a signal asks for the end, drain; the exit code."""
    lifecycle = Lifecycle()
    lifecycle.stop_on_signals()
    async with (
        running(graph, settings=settings, limits=limits, lifecycle=lifecycle) as servers,
        lifeline(lifecycle, pod_ip=settings.pod_ip),
    ):
        return await servers.serve()


async def _listen(engine: Engine, *, settings: Settings, limits: CallLimits, lifecycle: Lifecycle) -> Servers:
    protocol = PROTOCOLS[settings.protocol or "seldon"]
    app = protocol.rest(engine, settings=settings, lifecycle=lifecycle).application()
    calls = protocol.grpc(engine)
    return await Servers.start(
        rest=[Rest(app, settings.http_port, cancels_abandoned=True)],
        grpc_half=Grpc(
            handlers=calls.handlers(),
            services=list(calls.services()),
            descriptors=calls.descriptors,
            port=settings.grpc_port,
            max_message_bytes=limits.grpc_max_message_bytes,
            sign=engine.signature,
        ),
        lifecycle=lifecycle,
        host=settings.bind_host,
        shutdown=settings.shutdown,
    )


def _followers(engine: Engine, settings: Settings) -> list[asyncio.Task[None]]:
    works: list[Coroutine[Any, Any, None]] = [_announce(engine)]
    if settings.predictor_file is not None:
        works.append(PredictorFile(settings.predictor_file, log_url=settings.log_url).follow(engine.adopt))
    followers = [asyncio.create_task(work) for work in works]
    for follower in followers:
        follower.add_done_callback(_report)
    return followers


def _report(follower: asyncio.Task[None]) -> None:
    if not follower.cancelled() and (error := follower.exception()) is not None:
        LOG.error("a background task of the executor ended: %s", error, exc_info=error)


async def _announce(engine: Engine) -> None:
    await engine.wait_ready()
    LOG.info("ready: %s", ", ".join(engine.graph.nodes))
