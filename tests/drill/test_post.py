"""The connections of the drills' client, against a server that counts them."""

from __future__ import annotations

import asyncio
from contextlib import closing

import aiohttp
import pytest
from aiohttp import web

from slipway.drill.post import NobodyListens, Poster
from tests.drill.test_load import served
from tests.ports import free_port
from tests.waiting import eventually

PHOTO = b"\xff\xd8" + bytes(50_000)


class Counting:
    """A handler that knows its connections by their transports."""

    def __init__(self, *, close: bool = False) -> None:
        self.transports: set[asyncio.Transport] = set()
        self._close = close

    @property
    def n_open(self) -> int:
        return sum(not transport.is_closing() for transport in self.transports)

    async def handle(self, request: web.Request) -> web.Response:
        assert isinstance(request.transport, asyncio.Transport)
        self.transports.add(request.transport)
        assert await request.read() == PHOTO
        return web.Response(text="taken", headers={"connection": "close"} if self._close else {})


async def test_one_after_the_other_share_a_connection() -> None:
    handler = Counting()
    async with served(handler.handle) as url:
        with closing(Poster(url)) as poster:
            answers = [await poster.post(PHOTO) for _ in range(20)]
        assert {(one.status, one.body) for one in answers} == {(200, b"taken")}
        assert len(handler.transports) == 1
        await eventually(lambda: handler.n_open == 0, what="the end of the connection")


async def test_no_more_connections_than_requests_at_a_time() -> None:
    handler = Counting()
    async with served(handler.handle) as url:
        with closing(Poster(url)) as poster:
            for _ in range(5):
                await asyncio.gather(*(poster.post(PHOTO) for _ in range(8)))
        assert len(handler.transports) == 8


async def test_connection_that_the_server_ends_is_not_used_again() -> None:
    handler = Counting(close=True)
    async with served(handler.handle) as url:
        with closing(Poster(url)) as poster:
            assert [(await poster.post(PHOTO)).status for _ in range(3)] == [200] * 3
        assert len(handler.transports) == 3


async def test_request_given_up_ends_its_connection() -> None:
    asked, transports = asyncio.Event(), list[asyncio.Transport]()

    async def silent(request: web.Request) -> web.Response:
        assert isinstance(request.transport, asyncio.Transport)
        transports.append(request.transport)
        asked.set()
        await eventually(request.transport.is_closing, what="the end of the connection")
        return web.Response()

    async with served(silent) as url:
        with closing(Poster(url)) as poster:
            task = asyncio.create_task(poster.post(PHOTO))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await eventually(transports[0].is_closing, what="the end of the connection")


async def test_nobody_listens_is_an_error_of_its_own() -> None:
    with closing(Poster(f"http://127.0.0.1:{free_port()}/")) as poster, pytest.raises(NobodyListens):
        await poster.post(PHOTO)
    assert issubclass(NobodyListens, aiohttp.ClientError)
