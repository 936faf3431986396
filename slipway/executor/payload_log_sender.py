"""One attempt to send an event over HTTP, and what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver, ResolveResult

from slipway.executor.addresses import Addresses
from slipway.executor.limits import CONNECT_TIMEOUT_S, LOG_DELIVERY_TIMEOUT_S

MAX_REPLY_BYTES = 64 * 1024
"""What is read of a receiver's answer, to use its connection again."""
LARGE_BODY_BYTES = 2**20
PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
"""Refusals below 500 that another attempt may get around."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an attempt failed; ``text`` holds no URL."""

    text: str
    is_permanent: bool = False


def problem_of(status: int) -> Problem | None:
    """A receiver's answer: 2xx is a delivery; other 3xx and 4xx will not change, redirects are not followed."""
    if 200 <= status < 300:
        return None
    return Problem(f"answered {status}", is_permanent=status < 500 and status not in PASSING)


class Names(AbstractResolver):
    """Names as nodes' names are: the Pod's own and the hosts file's before the system's.

    A name server that does not answer holds up neither the lookups of nodes nor the end of the process: each lookup has
    a thread of its own, which nothing waits for. aiohttp has one lookup of a name at a time.
    """

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[list[Any] | OSError] = loop.create_future()
        asked = (self._addresses.resolve(host), port, family)
        threading.Thread(target=_look_up, args=(asked, loop, outcome), name="payload log", daemon=True).start()
        found = await outcome
        if isinstance(found, OSError):
            raise found
        return [
            ResolveResult(hostname=host, host=at[0], port=at[1], family=kind, proto=proto, flags=socket.AI_NUMERICHOST)
            for kind, _, proto, _, at in found
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _look_up(
    asked: tuple[str, int, int], loop: asyncio.AbstractEventLoop, outcome: asyncio.Future[list[Any] | OSError]
) -> None:
    host, port, family = asked
    found: list[Any] | OSError
    try:
        found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except OSError as error:
        found = error
    except UnicodeError as error:
        found = OSError(f"no host name: {error}")
    with contextlib.suppress(RuntimeError):  # a closed loop: nobody waits any more
        loop.call_soon_threadsafe(_settle, outcome, found)


def _settle(outcome: asyncio.Future[list[Any] | OSError], found: list[Any] | OSError) -> None:
    if not outcome.done():
        outcome.set_result(found)


def _in_pieces(body: bytes) -> bytes | io.BytesIO:
    """A large body as a stream, which is written piece by piece: one write of it would hold up the event loop."""
    return io.BytesIO(body) if len(body) > LARGE_BODY_BYTES else body


class Sender:
    """Kept connections to the receivers; none before the first event."""

    def __init__(self, *, addresses: Addresses, connections: int) -> None:
        self._addresses = addresses
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Problem | None:
        """None when the receiver took it."""
        session = self._session or self._open()
        try:
            async with (
                asyncio.timeout(LOG_DELIVERY_TIMEOUT_S),  # aiohttp's `total` may lose a cancellation that comes with it
                session.post(url, headers=headers, data=_in_pieces(body), allow_redirects=False) as response,
            ):
                await response.content.read(MAX_REPLY_BYTES)
                return problem_of(response.status)
        except TimeoutError:
            return Problem(f"no answer within {LOG_DELIVERY_TIMEOUT_S:g} s")
        except aiohttp.ClientConnectorError as error:
            return Problem(f"no connection: {error.os_error.strerror or type(error.os_error).__name__}")
        except (aiohttp.InvalidURL, ValueError):
            return Problem("the URL cannot be asked", is_permanent=True)
        except (aiohttp.ClientError, OSError) as error:
            return Problem(type(error).__name__)

    async def close(self) -> None:
        """Drop the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, resolver=Names(self._addresses)),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            skip_auto_headers=(hdrs.CONTENT_TYPE,),
        )
        return self._session
