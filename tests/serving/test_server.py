"""Limits of the servers over raw sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from slipway.contract.errors import component_error
from slipway.serving import body as body_module
from slipway.serving import limits
from slipway.serving.admission import Admission
from slipway.serving.body import read_body
from slipway.serving.errors import ServingError
from slipway.serving.lifecycle import Lifecycle, Shutdown
from slipway.serving.listening import every_address
from slipway.serving.rest import application
from slipway.serving.server import BindError, Rest, Servers, bind_host
from tests.waiting import eventually

LIMIT = 1000


@dataclass
class Echo:
    """A server that sends bodies back; ``hold`` keeps requests under way."""

    admission: Admission = field(default_factory=lambda: Admission(max_requests=2, max_bytes=1500))
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    port: int = 0
    servers: Servers | None = None

    async def handle(self, request: web.Request) -> web.Response:
        with self.admission.receive() as ticket:
            body = await read_body(request, ticket, limit_bytes=LIMIT, timeout_s=1.0)
            await self.hold.wait()
            return web.Response(body=body)


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    one = Echo()
    one.hold.set()
    app = application(
        lifecycle=one.lifecycle, render_error=lambda failure: component_error(failure.reason, failure.info)
    )
    app.router.add_post("/", one.handle)
    one.servers = await Servers.start(
        rest=[Rest(app, 0)], grpc_half=None, lifecycle=one.lifecycle, host="127.0.0.1", shutdown=Shutdown(0, 5)
    )
    one.port = one.servers.rest_ports[0]
    yield one
    one.hold.set()
    await one.servers.stop(1)


async def _send(port: int, raw: bytes, *, more: bytes = b"") -> tuple[int, dict]:
    """Status and JSON (or text) of the answer to raw bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        await writer.drain()
        if more:
            writer.write(more)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        text = await reader.readexactly(length)
        status = int(head.split()[1])
        return status, json.loads(text) if text.startswith(b"{") else {"text": text}
    finally:
        writer.close()


def _post(body: bytes, *headers: str) -> bytes:
    lines = ["POST / HTTP/1.1", "Host: x", *headers]
    if not any(line.startswith(("Content-Length", "Transfer-Encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def test_a_body_at_the_limit_comes_back_and_one_above_is_413(echo: Echo):
    assert (await _send(echo.port, _post(b"x" * LIMIT)))[0] == 200
    status, answer = await _send(echo.port, _post(b"x" * (LIMIT + 1)))
    assert (status, answer["status"]["reason"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_chunked_body_above_the_limit_is_413(echo: Echo):
    chunk = b"200\r\n" + b"x" * 512 + b"\r\n"
    status, answer = await _send(echo.port, _post(b"", "Transfer-Encoding: chunked"), more=chunk * 2)
    assert (status, answer["status"]["reason"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_compressed_body_counts_as_what_it_inflates_to(echo: Echo):
    small = gzip.compress(b"x" * LIMIT)
    status, answer = await _send(echo.port, _post(small, "Content-Encoding: gzip"))
    assert (status, answer["text"]) == (200, b"x" * LIMIT)
    bomb = gzip.compress(b"x" * 100_000)
    assert (await _send(echo.port, _post(bomb, "Content-Encoding: gzip")))[0] == 413


@pytest.mark.parametrize(
    "raw",
    [
        _post(b"not gzip", "Content-Encoding: gzip"),
        _post(b"zz\r\n", "Transfer-Encoding: chunked"),
        _post(b"", "Content-Length: -1"),
        _post(b"", "Content-Length: 1", "Content-Length: 2"),
        b"POST / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * (2 * limits.HEADER_LINE_BYTES) + b"\r\n\r\n",
        b"POST /" + b"x" * (2 * limits.HEADER_LINE_BYTES) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_broken_requests_are_400(echo: Echo, raw: bytes):
    assert (await _send(echo.port, raw))[0] == 400
    assert (await _send(echo.port, _post(b"still here")))[0] == 200


async def test_a_body_that_does_not_arrive_is_408(echo: Echo):
    status, answer = await _send(echo.port, _post(b"half", "Content-Length: 900"))
    assert (status, answer["status"]["reason"]) == (408, "REQUEST_TIMEOUT")
    assert echo.admission.requests == echo.admission.bytes == 0


async def test_a_client_that_leaves_early_frees_its_bytes(echo: Echo):
    _, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(_post(b"half", "Content-Length: 900"))
    await eventually(lambda: echo.admission.bytes == 4)
    writer.close()
    await eventually(lambda: echo.admission.bytes == 0)


async def test_slow_bodies_take_no_places(echo: Echo):
    slow = [await asyncio.open_connection("127.0.0.1", echo.port) for _ in range(5)]
    for _, writer in slow:
        writer.write(_post(b"half", "Content-Length: 8"))
    await eventually(lambda: echo.admission.bytes == 4 * len(slow))
    assert (await _send(echo.port, _post(b"quick")))[0] == 200
    echo.hold.clear()
    for _, writer in slow:
        writer.write(b"body")
    await eventually(lambda: echo.admission.requests == echo.admission.max_requests)
    echo.hold.set()
    answers = [await reader.readuntil(b"\r\n") for reader, _ in slow]
    assert sorted(int(answer.split()[1]) for answer in answers) == [200, 200, 429, 429, 429]
    for _, writer in slow:
        writer.close()
    await eventually(lambda: echo.admission.requests == echo.admission.bytes == 0)


@pytest.mark.parametrize(("announced_bytes", "seconds"), [(0, 5.0), (64 * 1024, 6.0), (12 * 2**20, 30.0), (None, 30.0)])
def test_a_body_has_the_time_that_its_length_needs(announced_bytes: int | None, seconds: float):
    assert body_module.patience_s(announced_bytes) == seconds


async def test_more_requests_than_places_are_429(echo: Echo):
    echo.hold.clear()
    waiting = [asyncio.create_task(_send(echo.port, _post(b"x"))) for _ in range(2)]
    await eventually(lambda: echo.admission.requests == 2)
    status, answer = await _send(echo.port, _post(b"x"))
    assert (status, answer["status"]["reason"]) == (429, "OVERLOADED")
    echo.hold.set()
    assert [status for status, _ in await asyncio.gather(*waiting)] == [200, 200]


async def test_more_bytes_than_there_is_room_for_are_429(echo: Echo):
    echo.hold.clear()
    waiting = asyncio.create_task(_send(echo.port, _post(b"x" * LIMIT)))
    await eventually(lambda: echo.admission.bytes == LIMIT)
    assert (await _send(echo.port, _post(b"x" * 600)))[0] == 429
    echo.hold.set()
    assert (await waiting)[0] == 200


async def _kept(port: int, *, answered: bool = True) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection between two requests, or before its first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    if answered:
        await _ask(reader, writer)
    return reader, writer


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_post(b"one"))
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(3) == b"one"


async def test_connection_that_was_idle_longest_makes_room_for_a_new_one(echo: Echo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 4)
    first = await _kept(echo.port)
    silent = await _kept(echo.port, answered=False)
    second, third = await _kept(echo.port), await _kept(echo.port)
    await _ask(*first)
    news = []
    for closed in (silent, third, first):
        news.append(await _kept(echo.port))
        assert await asyncio.wait_for(closed[0].read(), 5) == b""
        await _ask(*second)
    for connection in (second, *news):
        await _ask(*connection)
    for _, writer in (first, silent, second, third, *news):
        writer.close()


async def test_connections_above_the_limit_are_closed_where_all_are_at_work(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 1)
    _, first = await asyncio.open_connection("127.0.0.1", echo.port)
    first.write(_post(b"half", "Content-Length: 900"))
    await eventually(lambda: echo.admission.bytes == 4)
    reader, second = await asyncio.open_connection("127.0.0.1", echo.port)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    first.close()
    second.close()


async def test_a_client_that_does_not_read_its_answer_is_disconnected(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "STALLED_CLIENT_S", 1.0)
    ended = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(1024 * 1024))
        finally:
            ended.set()

    app = application(lifecycle=Lifecycle(), render_error=lambda _failure: {})
    app.router.add_get("/", stream)
    servers = await Servers.start(rest=[Rest(app, 0)], grpc_half=None, lifecycle=Lifecycle(), host="127.0.0.1")
    with socket.create_connection(("127.0.0.1", servers.rest_ports[0])) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(20):
            await ended.wait()
    await servers.stop(1)


async def test_stop_waits_for_requests_under_way_and_refuses_new_ones(echo: Echo):
    echo.hold.clear()
    waiting = asyncio.create_task(_send(echo.port, _post(b"x")))
    await eventually(lambda: echo.admission.requests == 1)
    assert echo.servers is not None
    stopping = asyncio.create_task(echo.servers.stop(5))
    await eventually(lambda: _is_refused(echo.port))
    assert not stopping.done()
    echo.hold.set()
    assert (await waiting)[0] == 200
    await stopping


async def _is_refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:  # refused, or reset where the port closes meanwhile
        return True
    writer.close()
    return False


async def test_a_kept_connection_answers_many_requests(echo: Echo):
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    for body in (b"one", b"two"):
        writer.write(_post(body))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head
        assert await reader.readexactly(3) == body
    writer.close()


async def test_a_taken_port_leaves_nothing_listening(echo: Echo):
    app = application(lifecycle=Lifecycle(), render_error=lambda _failure: {})
    other = application(lifecycle=Lifecycle(), render_error=lambda _failure: {})
    with pytest.raises(BindError, match=f"127.0.0.1:{echo.port}"):
        await Servers.start(
            rest=[Rest(app, 0), Rest(other, echo.port)], grpc_half=None, lifecycle=Lifecycle(), host="127.0.0.1"
        )


def test_admission_gives_back_what_a_failed_request_held():
    admission = Admission(max_requests=1, max_bytes=10)
    with admission.enter() as ticket:
        ticket.hold(8)
        with pytest.raises(ServingError, match="try again later"):
            ticket.hold(8)
        with pytest.raises(ServingError, match="1 requests are under way"), admission.enter():
            pytest.fail("there is no second place")
    assert (admission.requests, admission.bytes) == (0, 0)


def test_reply_is_held_instead_of_the_body_until_it_is_written():
    admission = Admission(max_requests=1, max_bytes=10)
    with admission.enter() as ticket:
        ticket.hold(8)
        written = ticket.reply(30)
    assert (admission.requests, admission.bytes) == (0, 30), "one that is alone is never too large"
    with admission.enter() as ticket:
        with pytest.raises(ServingError, match="try again later"):
            ticket.hold(1)
        with pytest.raises(ServingError, match="try again later"):
            ticket.reply(1)
    written()
    written()
    assert (admission.requests, admission.bytes) == (0, 0)


def test_answers_of_nodes_have_room_beside_the_bodies_and_their_requests_come_first():
    admission = Admission(max_bytes=10)
    with admission.enter() as ticket:
        ticket.hold(10)
        ticket.hold_answer(11)
        with pytest.raises(ServingError, match="answers of 11 bytes are under way"), admission.receive():
            pass
        ticket.hold_answer(9)
        with pytest.raises(ServingError, match="answers of 20 bytes are under way"):
            ticket.hold_answer(1)
        written = ticket.reply(10)
        assert (admission.bytes, admission.answer_bytes) == (10, 0)
    written()
    with admission.enter() as ticket:
        ticket.hold_answer(5)
    assert (admission.requests, admission.bytes, admission.answer_bytes) == (0, 0, 0)


def test_bind_host_is_the_pods_address():
    assert bind_host({"SLIPWAY_POD_IP": "127.1.2.3"}) == "127.1.2.3"
    assert bind_host({}) == bind_host({"SLIPWAY_POD_IP": ""}) == every_address()


def test_the_413_text_is_the_one_the_gateway_repeats():
    error = body_module.payload_too_large()
    assert (error.status_code, error.reason, str(error)) == (
        413,
        "PAYLOAD_TOO_LARGE",
        "the request body is larger than 12582912 bytes",
    )


async def test_work_that_outlasts_the_grace_period_is_cancelled_at_its_end() -> None:
    loop, grace_s = asyncio.get_running_loop(), 1.0
    began, told = asyncio.Event(), list[str]()

    async def handle(_request: web.Request) -> web.Response:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            told.append("cancelled")
        raise AssertionError

    lifecycle = Lifecycle()
    app = application(lifecycle=lifecycle, render_error=lambda failure: component_error(failure.reason, failure.info))
    app.router.add_post("/", handle)
    servers = await Servers.start(
        rest=[Rest(app, 0)], grpc_half=None, lifecycle=lifecycle, host="127.0.0.1", shutdown=Shutdown(0, grace_s)
    )
    _, writer = await asyncio.open_connection("127.0.0.1", servers.rest_ports[0])
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    await began.wait()
    twice = loop.call_later(2 * grace_s, told.append, "twice the time")
    await servers.stop(grace_s)
    twice.cancel()
    writer.close()
    assert told == ["cancelled"]
