"""Asks servers over HTTP/1.1 on kept connections: aiohttp's protocol and parser without its session.

For what is asked with every request: a session's way to the same bytes takes twice the processor time, and more where it is rare.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import aiohttp
from aiohappyeyeballs import start_connection
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import EofStream, StreamReader
from multidict import CIMultiDictProxy
from yarl import URL

from slipway.contract.ip_addresses import is_ip_address
from slipway.serving.errors import one_line

PIECE_BYTES = 1024 * 1024
"""A larger body is written piece by piece, as the server takes it: one write of it would hold up the event loop."""
End = tuple[str, int]
NEXT_ADDRESS_S = 0.25
"""Of several addresses of a name, the next is tried beside one that has not answered for so long (RFC 8305, 5)."""
EARLY, SWITCH, FINAL = 100, 101, 200
"""Answers from 100 to 199 announce another one (RFC 9110, 15.2), but for the switch to a protocol that nobody asked for."""


class Target(NamedTuple):
    """What is asked and where: build it with ``target_of``."""

    host: str
    port: int
    authority: str
    """The Host header."""
    path: str
    """As it is sent, quoted."""


class Answer(NamedTuple):
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class NoConnection(aiohttp.ClientError):
    """Nobody took the connection; the text says where and why."""


class BrokenAnswer(aiohttp.ClientError):
    """What came is no HTTP."""


class AnswerTooLong(aiohttp.ClientError):
    """The body is longer than it may be."""


@lru_cache(maxsize=1024)
def target_of(host: str, port: int, path: str) -> Target:
    """``path`` has no query: whatever is special in it is quoted. ``host``: a name or an address of either kind."""
    url = URL.build(scheme="http", host=host, port=port, path=path)
    return Target(host, port, url.host_port_subcomponent or "", url.raw_path)


class HttpClient:
    """Connections to any number of servers, each as many as there were requests at a time. Close it when none is under way."""

    def __init__(self, *, connect_timeout_s: float, keep_s: float) -> None:
        """``keep_s``: how long a connection may be idle; less than the servers allow, as a POST on one that they end is lost."""
        self._connect_timeout_s = connect_timeout_s
        self._keep_s = keep_s
        self._idle: dict[End, deque[_Idle]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._lookups: dict[End, asyncio.Future[list[Any]]] = {}
        self._is_closed = False

    async def ask(
        self,
        verb: str,
        target: Target,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        max_bytes: int,
        hold: Callable[[int], None] = lambda _size_bytes: None,
    ) -> Answer:
        """The answer, whatever its status, its body as it was encoded. ``hold`` gets the size of each piece of it as it comes.

        Has no time limit but that of the connection. A GET on a kept connection that ends is sent again on a new one.

        Raises:
            NoConnection: nobody took one in time.
            AnswerTooLong: the body is longer than ``max_bytes``.
            aiohttp.ClientError: the connection broke, or what came is no HTTP.
            ValueError: a header's value has a line break.
        """
        head = head_of(verb, target, headers, None if body is None else len(body))
        if (kept := self._kept(target[:2])) is not None:
            try:
                return await self._exchange(kept, target, head, body or b"", max_bytes, hold)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if verb != hdrs.METH_GET:
                    raise
        return await self._exchange(await self._opened(target), target, head, body or b"", max_bytes, hold)

    def close(self) -> None:
        """End the idle connections, and each other one with its request."""
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for idle in self._idle.values():
            for one in idle:
                one.connection.close()
        self._idle.clear()

    async def _exchange(
        self,
        connection: _Connection,
        target: Target,
        head: bytes,
        body: bytes,
        max_bytes: int,
        hold: Callable[[int], None],
    ) -> Answer:
        upload = connection.send(head, body)
        try:
            message, content = await connection.answer()
            answer = Answer(message.code, message.headers, await _body_of(message, content, max_bytes, hold))
            _check_end(connection, message)
        except aiohttp.ServerDisconnectedError as error:
            connection.abort()
            raise aiohttp.ServerDisconnectedError from error  # aiohttp's own text may be half a head
        except (HttpProcessingError, EofStream) as error:
            connection.abort()
            what = one_line(" ".join(str(error).split()))
            raise BrokenAnswer(f"what came from {target.authority} is no HTTP: {what}") from error
        except BaseException:
            connection.abort()
            raise
        finally:
            is_sent = (upload is None or not upload.cancel()) and connection.has_sent_all
        if not is_sent or message.should_close or connection.should_close or self._is_closed:
            connection.abort()  # a graceful end would wait, with what is not sent, for a server that does not read
        else:
            self._keep(target[:2], connection)
        return answer

    def _keep(self, end: End, connection: _Connection) -> None:
        loop = asyncio.get_running_loop()
        connection.is_idle = True
        self._idle.setdefault(end, deque()).append(_Idle(loop.time(), connection))
        if self._sweep is None:
            self._sweep = loop.call_later(self._keep_s, self._drop_old)

    def _drop_old(self) -> None:
        """What nobody used for ``keep_s`` ends then, and servers that are not asked any more are forgotten."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for idle in self._idle.values():
            while idle and idle[0].since + self._keep_s <= now:
                idle.popleft().connection.close()
        self._idle = {end: idle for end, idle in self._idle.items() if idle}
        oldest = min((idle[0].since for idle in self._idle.values()), default=None)
        self._sweep = loop.call_at(oldest + self._keep_s, self._drop_old) if oldest is not None else None

    def _kept(self, end: End) -> _Connection | None:
        """The one that was used last, so that the others can grow old."""
        idle = self._idle.get(end)
        while idle:
            _, connection = idle.pop()
            if connection.is_connected() and not connection.should_close:
                return connection
            connection.close()
        return None

    async def _opened(self, target: Target) -> _Connection:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                return await self._connected(target)
        except TimeoutError as error:
            raise NoConnection(f"no connection to {target.authority} within {self._connect_timeout_s:g} s") from error
        except (OSError, UnicodeError) as error:
            raise NoConnection(f"no connection to {target.authority}: {_why(error)}") from error

    async def _connected(self, target: Target) -> _Connection:
        loop = asyncio.get_running_loop()
        if is_ip_address(target.host):
            return (await loop.create_connection(lambda: _Connection(loop), target.host, target.port))[1]
        sock = await start_connection(await self._look_up(target[:2]), happy_eyeballs_delay=NEXT_ADDRESS_S)
        try:
            return (await loop.create_connection(lambda: _Connection(loop), sock=sock))[1]
        except BaseException:
            sock.close()
            raise

    async def _look_up(self, end: End) -> list[Any]:
        """The addresses of a name, asked for once for all who wait: a slow name server would keep the others waiting."""
        if end not in self._lookups:
            asked = asyncio.get_running_loop().getaddrinfo(*end, type=socket.SOCK_STREAM)
            self._lookups[end] = asyncio.ensure_future(asked)
            self._lookups[end].add_done_callback(lambda found: self._looked_up(end, found))
        return await asyncio.shield(self._lookups[end])

    def _looked_up(self, end: End, found: asyncio.Future[list[Any]]) -> None:
        del self._lookups[end]
        if not found.cancelled():
            found.exception()  # those who wait have it, where there are any left


class _Connection(ResponseHandler):
    """One server's end; an exchange at a time."""

    is_idle = False

    @property
    def has_sent_all(self) -> bool:
        return self.transport is None or not self.transport.get_write_buffer_size()

    def data_received(self, data: bytes) -> None:
        """What nobody asked for ends the connection: it would be taken for the next answer, or fill the memory until then."""
        if self.is_idle:
            self.abort()
        else:
            super().data_received(data)

    def eof_received(self) -> None:
        """No answer comes after it: nobody reads what is still to be written."""
        super().eof_received()
        if self.transport is not None:
            self.transport.abort()

    def send(self, head: bytes, body: bytes) -> asyncio.Task[None] | None:
        """Write a request; the task that still does so, of a large one."""
        self.is_idle = False
        if self.transport is None:
            raise aiohttp.ServerDisconnectedError
        self.set_response_params(read_until_eof=True, auto_decompress=False)
        self.transport.write(head)
        if len(body) > PIECE_BYTES:
            return asyncio.create_task(self._upload(body))
        if body:
            self.transport.write(body)
        return None

    async def answer(self) -> tuple[RawResponseMessage, StreamReader]:
        """Head and body of the final answer, which may come before the request is written."""
        while True:
            message, content = await self.read()
            if message.code >= FINAL:
                return message, content
            if message.code < EARLY or message.code == SWITCH:
                raise BrokenAnswer(f"an answer with status {message.code}")

    async def _upload(self, body: bytes) -> None:
        view = memoryview(body)
        try:
            for start in range(0, len(body), PIECE_BYTES):
                await self._drain_helper()
                if self.transport is None:
                    return
                self.transport.write(view[start : start + PIECE_BYTES])
        except ConnectionError:
            return  # who reads the answer is told


class _Idle(NamedTuple):
    since: float
    connection: _Connection


def head_of(verb: str, target: Target, headers: Mapping[str, str], length: int | None) -> bytes:
    """Request line and headers (RFC 9112, 2.1); ``length``: of the body, None for no body.

    Raises:
        ValueError: there is a line break in one of them.
    """
    lines = [f"{verb} {target.path} HTTP/1.1", f"Host: {target.authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    text = "\r\n".join(lines)
    if text.count("\n") >= len(lines) or text.count("\r") >= len(lines):
        raise ValueError("a header of a request has a line break")
    return f"{text}\r\n\r\n".encode(errors="surrogateescape")


def _check_end(connection: _Connection, message: RawResponseMessage) -> None:
    """Raises aiohttp.ClientOSError where only the connection's end could say that a body is whole, and that was a reset."""
    broken = connection.exception()
    if isinstance(broken, aiohttp.ClientOSError) and not message.chunked and hdrs.CONTENT_LENGTH not in message.headers:
        raise broken


def _why(error: OSError | UnicodeError) -> str:
    """In the system's words: asyncio has others for the same."""
    number = getattr(error, "errno", None) or 0
    return os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error)


async def _body_of(
    message: RawResponseMessage, content: StreamReader, max_bytes: int, hold: Callable[[int], None]
) -> bytes:
    announced = message.headers.get(hdrs.CONTENT_LENGTH, "0").lstrip("0") or "0"
    if int(announced) > max_bytes and not content.at_eof():
        raise AnswerTooLong(f"the answer has {announced} bytes: at most {max_bytes} are read")
    chunks: list[bytes] = []
    size = 0
    while not content.at_eof():
        chunk = await content.readany()
        size += len(chunk)
        if size > max_bytes:
            raise AnswerTooLong(f"the answer is longer than {max_bytes} bytes")
        hold(len(chunk))
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
