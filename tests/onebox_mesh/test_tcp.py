"""A Service port that is neither HTTP nor gRPC is passed on byte for byte."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from slipway.onebox.mesh.translate import Objects
from tests.onebox_mesh.envoys import running_gateway
from tests.onebox_mesh.upstreams import loopback_address
from tests.onebox_mesh.world import endpoint_slice, service
from tests.ports import free_port
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
PATIENCE_S = 10.0
LARGE = bytes(range(256)) * 16_384


@asynccontextmanager
async def _echo(address, port, word):
    """Says ``word``, then whatever it hears, until the other side has said everything."""

    async def serve(reader, writer):
        writer.write(word)
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, address, port):
        yield


async def _talk(address, port, text):
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(text)
    writer.write_eof()
    heard = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    return heard


async def test_tcp_service_passes_bytes_and_keeps_connections_while_endpoints_change(tmp_path):
    cluster_ip, first, second = (loopback_address() for _ in range(3))
    port = free_port()

    def objects(**addresses):
        ready = {{"first": first, "second": second}[name]: is_ready for name, is_ready in addresses.items()}
        slices = (endpoint_slice("queue", {"tcp-queue": port}, ready),)
        return Objects(services=(service("queue", {"tcp-queue": 6379}, cluster_ip=cluster_ip),), endpoint_slices=slices)

    async with (
        _echo(first, port, b"1"),
        _echo(second, port, b"2"),
        running_gateway(tmp_path, objects(first=True, second=False)) as gateway,
    ):
        assert await _talk(cluster_ip, 6379, LARGE) == b"1" + LARGE
        reader, writer = await asyncio.open_connection(cluster_ip, 6379)
        assert await asyncio.wait_for(reader.readexactly(1), PATIENCE_S) == b"1"
        assert await gateway.publish(objects(first=False, second=True))

        async def second_answers():
            return await _talk(cluster_ip, 6379, b"x") == b"2x"

        await eventually(second_answers, what="the second endpoint")
        writer.write(b"still here")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b"still here"
        writer.close()
        assert await gateway.publish(objects(first=False, second=False))
        assert await _talk(cluster_ip, 6379, b"") == b""
