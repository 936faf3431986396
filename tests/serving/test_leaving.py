"""A server that another one on the same port replaces."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest
from aiohttp import web

from slipway.contract.errors import component_error
from slipway.serving import leaving, server
from slipway.serving.leaving import accepted, turn_away
from slipway.serving.lifecycle import Lifecycle, Shutdown
from slipway.serving.rest import application
from slipway.serving.server import Rest, Servers, bound_socket

HOST = "127.0.0.1"
CONNECTIONS = 16
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def serving(port: int) -> tuple[Servers, Lifecycle]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="here")

    lifecycle = Lifecycle()
    app = application(lifecycle=lifecycle, render_error=lambda one: component_error(one.reason, one.info))
    app.router.add_get("/", answer)
    rest, shutdown = [Rest(app, port)], Shutdown(0, 1)
    started = await Servers.start(
        rest=rest, grpc_half=None, lifecycle=lifecycle, host=HOST, shutdown=shutdown, reuse_port=True
    )
    return started, lifecycle


def begun(port: int) -> socket.socket:
    """A connection on its way."""
    client = socket.socket()
    client.setblocking(False)
    assert client.connect_ex((HOST, port)) in (0, errno.EINPROGRESS)
    return client


async def asked(client: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    with client:
        await loop.sock_sendall(client, REQUEST)
        answer = b""
        while chunk := await loop.sock_recv(client, 4096):
            answer += chunk
        return answer


async def test_connections_that_begin_in_the_moment_of_the_change_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process may lose its processor between the last accept and the close of its port."""
    begin: list[socket.socket] = []

    def slowly(listener: socket.socket) -> list[socket.socket]:
        found = accepted(listener)
        begin.extend(begun(port) for _ in range(CONNECTIONS))
        return found

    monkeypatch.setattr(server, "accepted", slowly)
    with bound_socket(HOST, 0, reuse_port=True) as held:
        port = held.getsockname()[1]
        (leaves, lifecycle), (stays, _) = await serving(port), await serving(port)
        lifecycle.is_replaced = True
        lifecycle.stop_asked.set()
        assert await leaves.serve() == 0
        assert len(begin) == CONNECTIONS
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*(asked(client) for client in begin))
        await stays.stop(0)
    assert [answer.rpartition(b"\r\n")[2] for answer in answers] == [b"here"] * CONNECTIONS


def test_connection_that_has_begun_is_accepted_and_a_later_one_is_not() -> None:
    with socket.create_server((HOST, 0)) as listener, socket.create_connection(listener.getsockname()):
        listener.setblocking(False)
        turn_away(listener)
        with begun(listener.getsockname()[1]):
            (connection,) = accepted(listener)
            connection.close()
            assert accepted(listener) == []


def test_kernel_that_takes_no_filter_is_told_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(leaving, "SO_ATTACH_FILTER", 9999)
    caplog.set_level("INFO")
    with socket.create_server((HOST, 0)) as listener:
        turn_away(listener)
    assert "this kernel takes no filter" in caplog.text
