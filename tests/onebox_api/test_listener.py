"""Connections that send nothing whole are cut; those that asked once are not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from slipway.onebox.api import listener as listening
from slipway.onebox.api.__main__ import make_parts
from slipway.onebox.api.connections import MAX_LINE_BYTES, make_runner, protocols
from slipway.onebox.api.listener import FEW_CONNECTIONS, MAX_CONNECTIONS, Listener, connections_of, ensure_certificate
from slipway.onebox.api.server import make_app
from slipway.onebox.paths import Paths
from tests.waiting import eventually

TOKEN = b"\r\nAuthorization: Bearer token-of-the-administrator"
REQUEST = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def listening_at(folder: Path, *, max_connections: int = MAX_CONNECTIONS) -> AsyncIterator[tuple[str, int]]:
    certificate, key = ensure_certificate(folder)
    listener = Listener(certificate=certificate, key=key, max_connections=max_connections)
    parts = make_parts(Paths(folder), admin_token="token-of-the-administrator", admission={})
    runner = make_runner(make_app(parts, heard=listener.heard))
    await runner.setup()
    try:
        yield listener.start("127.0.0.1", 0, protocols(runner.server))
    finally:
        await listener.stop()
        await runner.cleanup()
        parts.objects.store.close()


async def test_slow_headers_are_cut_and_a_quiet_client_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "FIRST_REQUEST_TIMEOUT_S", 0.5)
    async with listening_at(tmp_path) as (host, port):
        slow_reader, slow = await asyncio.open_connection(host, port)
        good_reader, good = await asyncio.open_connection(host, port)
        good.write(REQUEST)
        assert await good_reader.readline() == b"HTTP/1.1 200 OK\r\n"
        await good_reader.readuntil(b"\r\n\r\nok")
        slow.write(REQUEST[:-2] + b"X-Slow: ")
        async with asyncio.timeout(10):
            assert await slow_reader.read() == b""  # cut
        good.write(REQUEST)
        async with asyncio.timeout(10):
            assert await good_reader.readline() == b"HTTP/1.1 200 OK\r\n"
        for writer in (slow, good):
            writer.close()


@pytest.mark.parametrize("sent", [REQUEST, REQUEST[:-2]], ids=["asked", "said nothing whole"])
async def test_connections_that_ended_are_forgotten(tmp_path: Path, sent: bytes) -> None:
    """With TLS each takes some 50 kB."""
    tls = ssl.create_default_context(cafile=str(ensure_certificate(tmp_path)[0]))
    async with listening_at(tmp_path) as (host, port):
        for _ in range(4 * FEW_CONNECTIONS):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
            writer.write(sent)
            if sent == REQUEST:
                await reader.readuntil(b"\r\n\r\nok")
            writer.close()
            await writer.wait_closed()

        def kept() -> int:
            gc.collect()
            return sum(isinstance(one, web.RequestHandler) for one in gc.get_objects())

        await eventually(lambda: kept() <= 2 * FEW_CONNECTIONS)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET /?a=%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * MAX_LINE_BYTES), 431),
        (b"GET / HTTP/1.1\r\nX-Long: %b\r\n\r\n" % (b"a" * (MAX_LINE_BYTES + 1)), 431),
        (b"MEND / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"G\xffT / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: nine\r\n\r\n", 400),
        (b"GET http://[/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ],
    ids=["long URL", "long header", "unknown method", "no method", "no header", "no length", "no URL"],
)
async def test_what_is_no_request_is_answered_with_a_status(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sent: bytes, code: int
) -> None:
    async with listening_at(tmp_path) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(sent)
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            status = json.loads(await reader.read())  # the connection ends
        writer.close()
    assert (int(head.split()[1]), status["kind"], status["code"]) == (code, "Status", code)
    assert "b'" not in status["message"]
    assert not caplog.records


@pytest.mark.parametrize("token", [b"Bearer token-of-the-administrator", b""], ids=["known", "unknown"])
@pytest.mark.parametrize(
    "body",
    [b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"],
    ids=["no chunk", "no gzip"],
)
async def test_a_body_that_cannot_be_read_is_the_clients_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, token: bytes, body: bytes
) -> None:
    start = b"POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    async with listening_at(tmp_path) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(start + (b"Authorization: %b\r\n" % token if token else b"") + body)
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            answer = await reader.read()
        writer.close()
    status = json.JSONDecoder().raw_decode(answer.decode())[0]
    assert int(head.split()[1]) == status["code"]
    assert status["code"] in (400, 403)
    assert not caplog.records


async def test_a_selector_may_be_long(tmp_path: Path) -> None:
    sent = b"GET /livez?labelSelector=%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * (MAX_LINE_BYTES - 64))
    async with listening_at(tmp_path) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(sent)
        async with asyncio.timeout(10):
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.close()


@pytest.mark.parametrize(
    "sent", [b"", b"G", b"\x16", REQUEST], ids=["nothing", "a byte", "a byte of TLS", "asked once"]
)
async def test_idle_connections_shut_nobody_out(tmp_path: Path, sent: bytes) -> None:
    """The oldest make room, and who has just come is served."""
    async with listening_at(tmp_path, max_connections=8) as address:
        idle = [await _connected(address, sent) for _ in range(16)]
        reader, writer = await _connected(address, REQUEST)
        async with asyncio.timeout(10):
            ended = [await one.read() for one, _ in idle[:8]]
        assert ended == [b""] * 8
        writer.write(REQUEST)  # it is the youngest
        async with asyncio.timeout(10):
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        for _, one in [*idle, (reader, writer)]:
            one.close()


async def test_who_is_at_work_is_not_closed_for_another(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch = REQUEST.replace(b"/livez", b"/api/v1/pods?watch=1").replace(b"\r\n\r\n", TOKEN + b"\r\n\r\n")
    async with listening_at(tmp_path, max_connections=2) as address:
        watches = [await _open(address, watch) for _ in range(2)]
        for reader, _ in watches:
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        reader, refused = await _open(address, b"")
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        assert "2 are open and at work" in caplog.text
        for _, writer in [*watches, (reader, refused)]:
            writer.close()

        async def is_served() -> bool:
            reader, writer = await _open(address, REQUEST)
            with contextlib.suppress(ConnectionError), contextlib.closing(writer):
                return await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            return False

        await eventually(is_served, what="those that ended make room")


def test_connections_take_half_of_the_descriptors() -> None:
    assert connections_of(1024) == 512
    assert connections_of(65_536) == MAX_CONNECTIONS


async def _connected(address: tuple[str, int], sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """With the answer read, where ``sent`` is a request."""
    reader, writer = await _open(address, sent)
    if sent == REQUEST:
        await reader.readuntil(b"\r\n\r\nok")
    return reader, writer


async def _open(address: tuple[str, int], sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(sent)
    return reader, writer
