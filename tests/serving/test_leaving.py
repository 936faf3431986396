"""A server that another one replaces, which goes on with its listener."""

from __future__ import annotations

import asyncio
import errno
import socket

from aiohttp import web

from slipway.contract.errors import component_error
from slipway.serving.lifecycle import Lifecycle, Shutdown
from slipway.serving.rest import application
from slipway.serving.server import Rest, Servers, bound_socket

HOST = "127.0.0.1"
CONNECTIONS = 16
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def serving(listener: socket.socket) -> tuple[Servers, Lifecycle]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="here")

    lifecycle = Lifecycle()
    app = application(lifecycle=lifecycle, render_error=lambda one: component_error(one.reason, one.info))
    app.router.add_get("/", answer)
    started = await Servers.start(
        rest=[Rest(app, 0, listener=listener)],
        grpc_half=None,
        lifecycle=lifecycle,
        host=HOST,
        shutdown=Shutdown(0, 1),
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
        return answer.rpartition(b"\r\n")[2]


async def test_connections_of_before_and_after_the_change_are_answered() -> None:
    with bound_socket(HOST, 0, reuse_port=True) as held:
        (leaves, lifecycle), (stays, _) = await serving(held.dup()), await serving(held.dup())
        port = held.getsockname()[1]
        before = [
            begun(port) for _ in range(CONNECTIONS)
        ]  # in the kernel's queue: nobody has had a turn to accept them
        lifecycle.is_replaced = True
        lifecycle.stop_asked.set()
        async with asyncio.timeout(20):
            code, *answers = await asyncio.gather(leaves.serve(), *map(asked, before))
            answers += await asyncio.gather(*(asked(begun(port)) for _ in range(CONNECTIONS)))
        await stays.stop(0)
    assert code == 0
    assert answers == [b"here"] * 2 * CONNECTIONS
