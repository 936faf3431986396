"""What the activator does with a Pod that it cannot reach or that goes away."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from slipway.onebox.activator import held, rest_proxy
from slipway.onebox.activator.held import NO_TARGET, NOT_AWAKE, TOO_MANY, Refused
from slipway.onebox.activator.hold import Hold
from slipway.onebox.activator.rest_proxy import RestProxy, client_session, refusal
from slipway.onebox.mesh.ir import Endpoint
from tests.waiting import eventually

NO_RETRY = "x-envoy-ratelimited"


class Given:
    """A hold whose endpoints are ready: one after the other."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self._left = list(endpoints)

    async def endpoint(self, header: str, *, size: int, within_s: float) -> Endpoint:
        del header, size, within_s
        return self._left.pop(0)


@asynccontextmanager
async def port_of(server: web.Server) -> AsyncIterator[int]:
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield cast(int, runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def ask(*endpoints: Endpoint) -> tuple[int, Any, Mapping[str, str]]:
    async with client_session() as session:
        proxy = RestProxy(cast(Hold, Given(*endpoints)), session)
        async with (
            port_of(web.Server(proxy.answer)) as port,
            aiohttp.ClientSession() as client,
            client.post(f"http://127.0.0.1:{port}/x", data=b"1") as answer,
        ):
            return answer.status, await answer.text(), answer.headers


async def test_request_that_a_draining_pod_lost_may_be_tried_again_by_the_gateway() -> None:
    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    pod = await asyncio.start_server(lose, "127.0.0.1", 0)
    async with pod:
        status, _, fields = await ask(Endpoint("127.0.0.1", pod.sockets[0].getsockname()[1]))
    assert (status, fields["x-slipway-reason"]) == (503, "UPSTREAM_UNREACHABLE")
    assert NO_RETRY not in fields


async def test_pod_that_does_not_take_a_connection_in_time_has_got_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(text=await request.text())

    monkeypatch.setattr(rest_proxy, "CONNECT_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_connection(full.getsockname()):
        async with port_of(web.Server(answer)) as port:
            stuck = Endpoint("127.0.0.1", full.getsockname()[1])
            status, body, _ = await ask(stuck, Endpoint("127.0.0.1", port))
    assert (status, body) == (200, "1")


@pytest.mark.parametrize("reason", [TOO_MANY, NOT_AWAKE, NO_TARGET])
def test_refusal_that_another_try_would_get_again_is_final(reason: str) -> None:
    assert refusal(Refused(reason, "")).headers[NO_RETRY] == "true"


class Later:
    """A hold whose endpoint is ready when the test says so."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.ready: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()

    async def endpoint(self, header: str, *, size: int, within_s: float) -> Endpoint:
        del header, size, within_s
        self.asked.set()
        return await asyncio.shield(self.ready)


def keeping(bodies: list[str]) -> Callable[[web.BaseRequest], Awaitable[web.Response]]:
    """What a Pod does that writes down each body it gets."""

    async def take(request: web.BaseRequest) -> web.Response:
        bodies.append(await request.text())
        return web.Response()

    return take


@pytest.mark.parametrize(
    ("host", "arrives"), [("yolo.local-shadow", True), ("yolo.local-shadow:80", True), ("yolo.local", False)]
)
async def test_mirrored_request_goes_on_when_its_sender_gives_it_up(host: str, *, arrives: bool) -> None:
    """As an Envoy does whose cluster changes; who asks for himself and leaves is not asked for any more."""
    bodies, hold = list[str](), Later()
    async with client_session() as session, port_of(web.Server(keeping(bodies))) as pod:
        proxy = RestProxy(cast(Hold, hold), session)
        async with (
            port_of(web.Server(proxy.answer, handler_cancellation=True)) as port,
            aiohttp.ClientSession() as client,
        ):
            sent = asyncio.create_task(client.post(f"http://127.0.0.1:{port}/x", data=b"1", headers={"Host": host}))
            await hold.asked.wait()
            sent.cancel()
            await asyncio.gather(sent, return_exceptions=True)
        hold.ready.set_result(Endpoint("127.0.0.1", pod))  # the server has let go of every request of its own
        if arrives:
            await eventually(lambda: bodies == ["1"])
        await proxy.aclose()
    assert bodies == (["1"] if arrives else [])


async def test_mirrored_bodies_take_no_more_memory_than_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are received whole, before anybody says whether they may wait."""
    monkeypatch.setattr(held, "MAX_COPIED_BYTES", 10)
    bodies, hold = list[str](), Later()
    async with client_session() as session, port_of(web.Server(keeping(bodies))) as pod:
        proxy = RestProxy(cast(Hold, hold), session)
        async with port_of(web.Server(proxy.answer)) as port, aiohttp.ClientSession() as client:

            async def copied(body: str) -> tuple[int, str]:
                fields = {"Host": "yolo.local-shadow"}
                async with client.post(f"http://127.0.0.1:{port}/x", data=body, headers=fields) as answer:
                    return answer.status, answer.headers.get("x-slipway-reason", "")

            first = asyncio.create_task(copied("eight 1."))
            await hold.asked.wait()
            assert await copied("eight 2.") == (503, TOO_MANY)
            hold.ready.set_result(Endpoint("127.0.0.1", pod))
            assert await first == (200, "")
            assert await copied("eight 3.") == (200, "")
    assert bodies == ["eight 1.", "eight 3."]
