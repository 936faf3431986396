"""A component instance served in this process on free ports, and whole processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from prometheus_client import CollectorRegistry

from slipway.microservice.component import component_of
from slipway.microservice.custom_metrics import CustomMetrics
from slipway.microservice.grpc_app import component_handlers, service_names
from slipway.microservice.hooks import Hooks
from slipway.microservice.metadata import MetadataError, read_metadata
from slipway.microservice.rest_app import component_app, metrics_app
from slipway.microservice.service import Service
from slipway.microservice.settings import Identity
from slipway.microservice.threads import ComponentThreads
from slipway.microservice.v2_grpc import DESCRIPTORS, v2_handler
from slipway.microservice.v2_grpc import SERVICE as V2_SERVICE
from slipway.serving.lifecycle import Lifecycle, Shutdown
from slipway.serving.limits import MAX_IN_FLIGHT
from slipway.serving.server import Grpc, Rest, Servers
from tests.microservice.process import MicroserviceProcess

IDENTITY = Identity("", "", "dep", "pred", "v1")
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Served:
    """One served component: a REST session with its address, a gRPC channel, the parts behind them."""

    session: aiohttp.ClientSession
    url: str
    metrics_url: str
    channel: grpc.aio.Channel
    service: Service
    lifecycle: Lifecycle
    servers: Servers

    async def post(self, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Status and parsed JSON of a POST."""
        if body is not None:
            options["json"] = body
        async with self.session.post(self.url + path, **options) as response:
            return response.status, await response.json()

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        async with self.session.get(self.url + path, **options) as response:
            return response.status, await response.json()

    async def metrics(self) -> str:
        async with self.session.get(self.metrics_url) as response:
            return await response.text()


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """``await serve(instance, identity=…, threads=…)`` for any number of components; all end with the test."""
    async with AsyncExitStack() as stack:

        async def start(instance: Any, *, identity: Identity = IDENTITY, threads: int = 1, **options: Any) -> Served:
            return await _start(stack, instance, identity=identity, threads=threads, **options)

        yield start


async def _start(
    stack: AsyncExitStack,
    instance: Any,
    *,
    identity: Identity,
    threads: int,
    metrics_in_replies: bool = True,
    payload_passthrough: bool = False,
    model_metadata: str = "",
    max_in_flight: int = MAX_IN_FLIGHT,
    max_batch: int = 1,
) -> Served:
    component = component_of(instance)
    hooks = Hooks(component, CustomMetrics(identity), identity, metrics_in_replies)
    try:
        metadata: Any = read_metadata(component, image=identity.image, override=model_metadata)
    except MetadataError as exc:
        metadata = str(exc)
    lifecycle, pool = Lifecycle(), ComponentThreads(threads)
    stack.callback(pool.close)
    service = Service(
        hooks, pool, lifecycle=lifecycle, metadata=metadata, max_in_flight=max_in_flight, max_batch=max_batch
    )
    registry = CollectorRegistry(auto_describe=False)
    registry.register(hooks.metrics)
    registry.register(service.pressure())
    servers = await Servers.start(
        rest=[
            Rest(component_app(service, payload_passthrough=payload_passthrough), 0, cancels_abandoned=True),
            Rest(metrics_app(registry, "/prometheus", lifecycle=lifecycle), 0),
        ],
        grpc_half=Grpc(
            [*component_handlers(service), v2_handler(service)],
            [*service_names(), V2_SERVICE],
            0,
            descriptors=DESCRIPTORS,
            sign=service.facts,
        ),
        lifecycle=lifecycle,
        host=HOST,
        shutdown=Shutdown(0.1, 20),
    )
    stack.push_async_callback(servers.stop, 1)
    session = await stack.enter_async_context(aiohttp.ClientSession())
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"{HOST}:{servers.grpc_port}"))
    rest, metrics = servers.rest_ports
    metrics_url = f"http://{HOST}:{metrics}/prometheus"
    return Served(session, f"http://{HOST}:{rest}", metrics_url, channel, service, lifecycle, servers)


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[Callable[..., MicroserviceProcess]]:
    """``start_process(source, "--flag", …)``: module ``Mod`` with this source, served by a process of its own."""
    running: list[MicroserviceProcess] = []

    def start(source: str, *flags: str, **environment: str) -> MicroserviceProcess:
        (tmp_path / "Mod.py").write_text(source)
        process = MicroserviceProcess("Mod", *flags, folder=tmp_path, environment=environment)
        running.append(process)
        return process

    yield start
    for process in running:
        process.end()
