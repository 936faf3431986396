"""Posts photos to one address, for a generator that shares its machine with what it measures.

aiohttp's connections and parser without its session, which took more than a third of the time of a request that is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_proto import ResponseHandler


class Answer(NamedTuple):
    """Names of headers are in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NobodyListens(aiohttp.ClientError):
    """No connection could be made."""


class Poster:
    """Kept connections, as many as there are requests at a time. Close it when none is under way."""

    def __init__(self, url: str) -> None:
        """``url``: ``http://HOST:PORT/PATH``; ValueError for another one."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{url}: http://HOST:PORT/PATH is expected")
        self._end = parts.hostname, parts.port or 80
        target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        self._head = f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: image/jpeg\r\nContent-Length: "
        self._idle: list[ResponseHandler] = []

    async def post(self, photo: bytes) -> Answer:
        """What came back. aiohttp.ClientError where nothing did, NobodyListens among them; a cancelled one ends its connection."""
        connection = self._kept()
        if connection is None:  # asked so, as one that has nothing buffered is false
            connection = await self._opened()
        if (transport := connection.transport) is None:  # closed in the moment in which it was made
            raise aiohttp.ServerDisconnectedError
        try:
            connection.set_response_params(read_until_eof=True)
            transport.write(f"{self._head}{len(photo)}\r\n\r\n".encode())
            transport.write(photo)
            message, content = await connection.read()
            answer = Answer(message.code, message.headers, await content.read())
        except BaseException:
            connection.close()
            raise
        if message.should_close or connection.should_close:
            connection.close()
        else:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        """End the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> ResponseHandler | None:
        while self._idle:
            if (connection := self._idle.pop()).is_connected():
                return connection
        return None

    async def _opened(self) -> ResponseHandler:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: ResponseHandler(loop), *self._end)
        except OSError as exc:
            raise NobodyListens(f"{self._end[0]}:{self._end[1]}: {exc}") from exc
        return connection
