"""Asks servers over HTTP/1.1 on kept connections: aiohttp's protocol and parser without its session.

For what is asked with every request: a session's way to the same bytes takes several times as long.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

import aiohttp
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import EofStream, StreamReader
from multidict import CIMultiDictProxy
from yarl import URL

PIECE_BYTES = 1024 * 1024
"""A larger body is written piece by piece, as the server takes it: one write of it would hold up the event loop."""
End = tuple[str, int]
FINAL = 200
"""Answers below it announce another one (RFC 9110, 15.2), but for the switch to another protocol."""


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
        """End the idle connections."""
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
        except (HttpProcessingError, EofStream) as error:
            connection.abort()
            raise BrokenAnswer(f"what came from {target.authority} is no HTTP: {error}") from error
        except BaseException:
            connection.abort()
            raise
        finally:
            is_sent = upload is None or not upload.cancel()
        if not is_sent or message.should_close or connection.should_close:
            connection.close()
        else:
            self._keep(target[:2], connection)
        return answer

    def _keep(self, end: End, connection: _Connection) -> None:
        now = time.monotonic()
        if end not in self._idle:  # servers come and go: those that are not asked any more are forgotten
            self._idle = {other: idle for other, idle in self._idle.items() if self._drop_old(idle, now)}
        idle = self._idle.setdefault(end, deque())
        self._drop_old(idle, now)
        idle.append(_Idle(now, connection))

    def _drop_old(self, idle: deque[_Idle], now: float) -> bool:
        """Whether any is left."""
        while idle and now - idle[0].since > self._keep_s:
            idle.popleft().connection.close()
        return bool(idle)

    def _kept(self, end: End) -> _Connection | None:
        """The one that was used last, so that the others can grow old."""
        idle = self._idle.get(end)
        while idle:
            since, connection = idle.pop()
            if time.monotonic() - since <= self._keep_s and connection.is_connected() and not connection.should_close:
                return connection
            connection.close()
        return None

    async def _opened(self, target: Target) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await loop.create_connection(lambda: _Connection(loop), target.host, target.port)
        except TimeoutError as error:
            raise NoConnection(f"no connection to {target.authority} within {self._connect_timeout_s:g} s") from error
        except (OSError, UnicodeError) as error:
            raise NoConnection(f"no connection to {target.authority}: {_why(error)}") from error
        return connection


class _Connection(ResponseHandler):
    """One server's end; an exchange at a time."""

    def send(self, head: bytes, body: bytes) -> asyncio.Task[None] | None:
        """Write a request; the task that still does so, of a large one."""
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
            if message.code >= FINAL or message.upgrade:
                return message, content

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


def _why(error: OSError | UnicodeError) -> str:
    """In the system's words: asyncio has others for the same."""
    number = getattr(error, "errno", None) or 0
    return os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error)


async def _body_of(
    message: RawResponseMessage, content: StreamReader, max_bytes: int, hold: Callable[[int], None]
) -> bytes:
    announced = message.headers.get(hdrs.CONTENT_LENGTH, "0")
    if int(announced) > max_bytes:
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
