"""Kept connections, against servers that count them, say what they like, or nothing."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict

from slipway.serving import http_client
from slipway.serving.http_client import Answer, AnswerTooLong, BrokenAnswer, HttpClient, NoConnection, Target, target_of
from tests.ports import free_port
from tests.waiting import eventually

BODY = b"\xff\xd8" + bytes(50_000)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntaken"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Server:
    """Each connection goes to ``behave``; ``n_open`` of them have not ended."""

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.n_connections = self.n_open = 0
        self.heads: list[bytes] = []
        self.target = Target("", 0, "", "")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        self.n_open += 1
        try:
            await self.behave(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.n_open -= 1
            writer.close()

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """The body of the next request."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        _, _, length = head.lower().partition(b"content-length: ")
        return await reader.readexactly(int(length.split(b"\r")[0] or 0))

    def answering(self, *answers: bytes, then: bytes = b"") -> Behaviour:
        """Each request gets the next of ``answers`` and, where there are no more, the end of the connection after ``then``."""

        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for answer in answers:
                await self.request(reader)
                writer.write(answer)
            writer.write(then)
            if not answers:
                await self.request(reader)

        return behave


@asynccontextmanager
async def serving(*answers: bytes, then: bytes = b"") -> AsyncIterator[Server]:
    server = Server(lambda _reader, _writer: asyncio.sleep(0))
    server.behave = server.answering(*answers, then=then)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.target = target_of("127.0.0.1", listener.sockets[0].getsockname()[1], "/predict")
    async with listener:
        yield server


def client_of(*, keep_s: float = 60.0) -> closing[HttpClient]:
    return closing(HttpClient(connect_timeout_s=5.0, keep_s=keep_s))


async def post(client: HttpClient, target: Target, body: bytes = BODY, **options: Any) -> Answer:
    return await client.ask("POST", target, **{"headers": {}, "body": body, "max_bytes": 100, **options})


async def get(client: HttpClient, target: Target) -> Answer:
    return await client.ask("GET", target, headers={}, max_bytes=100)


async def test_one_after_the_other_share_a_connection_which_ends_with_the_client() -> None:
    async with serving(*[OK] * 21) as server:
        with client_of() as client:
            answers = [await post(client, server.target) for _ in range(20)]
            assert {(one.status, one.body) for one in answers} == {(200, b"taken")}
            assert (server.n_connections, server.n_open) == (1, 1)
        await eventually(lambda: server.n_open == 0, what="the end of the connection")


async def test_no_more_connections_than_requests_at_a_time() -> None:
    async with serving(*[OK] * 5) as server:
        with client_of() as client:
            for _ in range(5):
                await asyncio.gather(*(post(client, server.target) for _ in range(8)))
            assert server.n_connections == 8


async def test_request_is_written_as_it_is_asked() -> None:
    async with serving(OK, OK) as server:
        target = server.target._replace(path=target_of("h", 1, "/v2/models/a?b c/é").path)
        sent = CIMultiDict([("X-Twice", "1"), ("X-Twice", "caf\udcc3\udca9")])
        with client_of() as client:
            await post(client, target, b"{}", headers=sent)
            await get(client, target)
        with_body, without = server.heads
    path, authority = b"/v2/models/a%3Fb%20c/%C3%A9", target.authority.encode()
    assert with_body == (
        b"POST " + path + b" HTTP/1.1\r\nHost: " + authority + b"\r\nX-Twice: 1\r\nX-Twice: caf\xc3\xa9\r\n"
        b"Content-Length: 2\r\n\r\n"
    )
    assert without == b"GET " + path + b" HTTP/1.1\r\nHost: " + authority + b"\r\n\r\n"


def test_address_of_ip_v6_has_its_brackets() -> None:
    assert target_of("::1", 9000, "/") == Target("::1", 9000, "[::1]:9000", "/")


@pytest.mark.parametrize("value", ["a\r\nHost: other", "a\nb", "a\rb"])
async def test_line_break_in_a_header_is_not_sent(value: str) -> None:
    async with serving(OK) as server:
        with client_of() as client, pytest.raises(ValueError, match="line break"):
            await post(client, server.target, headers={"x": value})
        assert not server.n_connections


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\ntaken",
        b"HTTP/1.0 200 OK\r\n\r\ntaken",
        b"HTTP/1.1 200 OK\r\n\r\ntaken",
    ],
    ids=["said", "of HTTP/1.0", "the end of its body"],
)
async def test_connection_that_the_server_ends_is_not_used_again(answer: bytes) -> None:
    async with serving(answer) as server:
        with client_of() as client:
            assert [(await post(client, server.target)).body for _ in range(3)] == [b"taken"] * 3
        assert server.n_connections == 3


async def test_answer_that_nobody_asked_for_is_nobody_s() -> None:
    async with serving(OK + OK.replace(b"taken", b"WRONG")) as server:
        with client_of() as client:
            assert [(await post(client, server.target)).body for _ in range(3)] == [b"taken"] * 3
        assert server.n_connections == 3


async def test_answers_that_announce_another_one_are_passed_over() -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with serving(early + OK, OK) as server:
        with client_of() as client:
            assert [(await post(client, server.target)).body for _ in range(2)] == [b"taken"] * 2
        assert server.n_connections == 1


async def test_get_is_sent_again_where_a_kept_connection_ended_and_post_is_not() -> None:
    async with serving() as server:

        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            writer.write(OK)
            await server.request(reader)

        server.behave = once
        with client_of() as client:
            assert [(await get(client, server.target)).status for _ in range(3)] == [200] * 3
            assert len(server.heads) == 5  # the second and the third were asked twice
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await post(client, server.target)


async def test_get_on_a_new_connection_that_ends_is_an_error() -> None:
    async with serving() as server:
        with client_of() as client, pytest.raises(aiohttp.ServerDisconnectedError):
            await get(client, server.target)
        assert server.n_connections == 1


async def test_connection_that_nobody_uses_any_more_ends_by_itself() -> None:
    async with serving(OK, OK) as server, serving(OK) as other:
        with client_of(keep_s=0.05) as client:
            await asyncio.gather(post(client, server.target), post(client, server.target), post(client, other.target))
            await eventually(lambda: server.n_open == other.n_open == 0, what="the end of the connections")
            await post(client, server.target)
            assert server.n_connections == 3
            await eventually(lambda: server.n_open == 0, what="the end of the connection")


async def test_connection_of_a_client_that_was_closed_meanwhile_is_not_kept() -> None:
    asked, told = asyncio.Event(), asyncio.Event()
    async with serving() as server:

        async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            asked.set()
            await told.wait()
            writer.write(OK)
            await reader.read()

        server.behave = late
        with client_of() as client:
            task = asyncio.create_task(post(client, server.target))
            await asked.wait()
        told.set()
        assert (await task).status == 200
        await eventually(lambda: server.n_open == 0, what="the end of the connection")


async def test_server_that_talks_on_without_being_asked_is_not_listened_to() -> None:
    async with serving() as server:

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            while True:
                writer.write(OK)
                await writer.drain()

        server.behave = talk
        with client_of() as client:
            assert (await post(client, server.target)).body == b"taken"
            await eventually(lambda: server.n_open == 0, what="the end of the connection")


async def test_request_given_up_ends_its_connection() -> None:
    asked = asyncio.Event()
    async with serving() as server:

        async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            asked.set()
            await reader.read()

        server.behave = silent
        with client_of() as client:
            task = asyncio.create_task(post(client, server.target))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await eventually(lambda: server.n_open == 0, what="the end of the connection")


@pytest.mark.parametrize("n_bytes", [1, 3 * http_client.PIECE_BYTES + 1])
async def test_body_of_any_size_arrives_whole(n_bytes: int) -> None:
    body, came = bytes(range(256)) * (n_bytes // 256) + bytes(n_bytes % 256), list[bytes]()
    async with serving() as server:

        async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                came.append(await server.request(reader))
                writer.write(OK)

        server.behave = keep
        with client_of() as client:
            for _ in range(2):
                assert (await post(client, server.target, body)).status == 200
    assert came == [body, body]
    assert server.n_connections == 1


async def test_answer_before_the_whole_body_was_sent_counts_and_ends_the_connection() -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
    answered, sizes = asyncio.Event(), list[int]()
    async with serving() as server:

        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(refusal)
            await answered.wait()
            sizes.append(len(await reader.read()))

        server.behave = refuse
        with client_of() as client:
            for _ in range(2):
                assert (await post(client, server.target, bytes(20 * 2**20))).status == 413
            assert server.n_connections == 2
            answered.set()
            await eventually(lambda: server.n_open == 0, what="the end of both")
    assert sum(sizes) < 20 * 2**20  # what was not sent yet went with its connection


async def test_server_that_reads_no_more_of_a_large_body_and_leaves_is_noticed() -> None:
    async with serving() as server:

        async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write_eof()
            await gone.wait()

        gone, server.behave = asyncio.Event(), leave
        with client_of() as client, pytest.raises(aiohttp.ServerDisconnectedError, match="^Server disconnected$"):
            await post(client, server.target, bytes(20 * 2**20))
        gone.set()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101,
    ],
    ids=["announced", "chunked"],
)
async def test_answer_that_is_too_long_is_not_read(answer: bytes) -> None:
    async with serving(answer, OK) as server:
        with client_of() as client, pytest.raises(AnswerTooLong, match="100 are read|than 100 bytes"):
            await post(client, server.target)
        await eventually(lambda: server.n_open == 0, what="the end of the connection")


async def test_sizes_are_told_as_they_come_and_may_be_refused() -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    sizes: list[int] = []
    async with serving(chunks, chunks) as server:

        def refuse(_size_bytes: int) -> None:
            raise MemoryError

        with client_of() as client:
            assert (await post(client, server.target, hold=sizes.append)).body == b"abcde"
            assert sum(sizes) == 5
            with pytest.raises(MemoryError):
                await post(client, server.target, hold=refuse)
            await eventually(lambda: server.n_open == 0, what="the end of the connection")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", BrokenAnswer),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", aiohttp.ClientPayloadError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", aiohttp.ClientError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000 + b"\r\n\r\n", BrokenAnswer),
        (b"HTTP/1.1 20", aiohttp.ServerDisconnectedError),
        (b"HTTP/1.1 99 What\r\nContent-Length: 0\r\n\r\n", BrokenAnswer),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", BrokenAnswer),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", BrokenAnswer),
    ],
    ids=["no HTTP", "half a body", "no chunk", "a line too long", "half a head", "99", "101", "another protocol"],
)
async def test_broken_answers_are_errors_of_one_family(answer: bytes, error: type[Exception]) -> None:
    async with serving(answer) as server:
        with client_of() as client, pytest.raises(error) as caught:
            await post(client, server.target)
    assert isinstance(caught.value, aiohttp.ClientError)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (OK.replace(b"Length: 5", b"Length: " + b"0" * 5000 + b"5"), 200, b"taken"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n", 304, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    ],
    ids=["a number of many digits", "304", "204"],
)
async def test_odd_answers_are_read_as_they_are_meant(answer: bytes, status: int, body: bytes) -> None:
    async with serving(answer) as server:
        with client_of() as client:
            assert (await post(client, server.target))[::2] == (status, body)


@pytest.mark.parametrize("length", [b"", b"Content-Length: 5\r\n"])
async def test_body_that_only_the_end_of_the_connection_ends_is_not_whole_after_a_reset(length: bytes) -> None:
    async with serving() as server:

        async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\ntaken")
            await came.wait()
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

        came, server.behave = asyncio.Event(), reset
        with client_of() as client:
            asked = post(client, server.target, hold=lambda _size: came.set())
            if length:
                assert (await asked).body == b"taken"
            else:
                with pytest.raises(aiohttp.ClientOSError):
                    await asked


async def test_name_is_looked_up_once_for_all_who_wait_and_each_of_its_addresses_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, silent = list[object](), "127.99.13.7"
    async with serving(OK) as server:
        port = server.target.port

        look_up = asyncio.get_running_loop().getaddrinfo

        async def getaddrinfo(host: str, *of: Any, **options: Any) -> list[Any]:
            if host != "two.test":
                return await look_up(host, *of, **options)
            asked.append(host)
            await asyncio.sleep(0)
            kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            return [(*kind, (silent, port)), (*kind, ("127.0.0.1", port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        with socket.create_server((silent, port), backlog=0) as full, socket.create_connection((silent, port)):
            full.settimeout(0)
            with client_of() as client:
                found = await asyncio.gather(*(get(client, target_of("two.test", port, "/")) for _ in range(20)))
            assert {one.status for one in found} == {200}
            assert asked == ["two.test"]


async def test_nobody_there_says_where_and_why() -> None:
    port = free_port()
    with client_of() as client:
        with pytest.raises(NoConnection, match=rf"no connection to 127.0.0.1:{port}: .*refused"):
            await get(client, target_of("127.0.0.1", port, "/"))
        with pytest.raises(NoConnection, match="no connection to nobody.invalid:1: "):
            await get(client, target_of("nobody.invalid", 1, "/"))


async def test_nobody_takes_the_connection_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    told = pytest.raises(NoConnection, match="no connection to 127.0.0.1:1 within 0.01 s")
    with closing(HttpClient(connect_timeout_s=0.01, keep_s=1.0)) as client, told:
        await get(client, target_of("127.0.0.1", 1, "/"))
