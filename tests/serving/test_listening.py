"""A server without an address of its own is reached over IPv6 and IPv4, whichever the Pods of a cluster have."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc

from slipway.contract.errors import component_error
from slipway.controller.metrics import Metrics
from slipway.controller.probes import serve_probes
from slipway.serving import listening
from slipway.serving.lifecycle import Lifecycle, Shutdown
from slipway.serving.listening import EVERY, EVERY_IPV4, bound, every_address, tcp_socket
from slipway.serving.rest import application
from slipway.serving.server import Grpc, Rest, Servers, bind_host
from slipway.webhook.options import make_parser

IPV4 = "127.0.0.1"
WITHOUT = "a machine without IPv6"
Listening = Callable[[], AbstractAsyncContextManager[dict[str, int]]]


def loopbacks() -> list[str]:
    """Of this machine, in URLs."""
    found = [IPV4]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        found.append("[::1]")
    return found


@pytest.fixture(params=[EVERY, EVERY_IPV4], ids=["both", WITHOUT])
def addresses(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where servers have to answer."""
    if request.param == EVERY:
        return loopbacks()
    made = socket.socket

    def without_ipv6(family: int = socket.AF_INET, *rest: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError("Address family not supported by protocol")
        return made(family, *rest)

    constants = {name: getattr(socket, name) for name in dir(socket) if name.isupper()}
    monkeypatch.setattr(listening, "socket", SimpleNamespace(**constants, socket=without_ipv6))
    return [IPV4]


@asynccontextmanager
async def servers() -> AsyncIterator[dict[str, int]]:
    """Executor's and component's: REST and gRPC."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = application(lifecycle=Lifecycle(), render_error=lambda failure: component_error(failure.reason, failure.info))
    app.router.add_get("/healthz", answer)
    half = Grpc(handlers=[], services=[], port=0)
    host = bind_host({})
    started = await Servers.start(
        rest=[Rest(app, 0)], grpc_half=half, lifecycle=Lifecycle(), host=host, shutdown=Shutdown(0, 1)
    )
    try:
        yield {"http": started.rest_ports[0], "grpc": started.grpc_port or 0}
    finally:
        await started.stop(0)


@asynccontextmanager
async def probes() -> AsyncIterator[dict[str, int]]:
    async with serve_probes(0, Metrics(), is_ready=lambda: True) as port:
        yield {"http": port}


@pytest.mark.parametrize("start", [servers, probes], ids=["server", "controller"])
async def test_answers_on_every_address(start: Listening, addresses: list[str]) -> None:
    async with start() as ports:
        for address in addresses:
            async with aiohttp.request("GET", f"http://{address}:{ports['http']}/healthz") as reply:
                assert reply.status == 200
            if "grpc" in ports:
                async with grpc.aio.insecure_channel(f"{address}:{ports['grpc']}") as channel:
                    found = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
                    assert found.status == health_pb2.HealthCheckResponse.SERVING


def test_webhook_listens_on_every_address(addresses: list[str]) -> None:
    host = make_parser().parse_args([]).host
    with bound(host, 0) as sock:
        sock.listen()
        for address in addresses:
            with socket.create_connection((address.strip("[]"), sock.getsockname()[1]), timeout=5):
                pass
    assert host == every_address()


def test_machine_without_ipv6_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "EVERY", "192.0.2.1")  # of nobody
    assert every_address() == EVERY_IPV4


def test_taken_port_leaves_no_socket_behind() -> None:
    with bound(every_address(), 0) as sock:
        sock.listen()
        with pytest.raises(OSError, match="in use"):
            bound(every_address(), sock.getsockname()[1])


@pytest.mark.parametrize("host", [IPV4, EVERY_IPV4])
def test_address_of_ipv4_is_of_ipv4_alone(host: str) -> None:
    with tcp_socket(host) as sock:
        assert sock.family == socket.AF_INET
        assert not sock.getblocking()
