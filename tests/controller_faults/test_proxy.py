"""The proxy counts a fault where it came to pass, and nowhere else: what is counted the client has seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.controller_faults.proxy import Plan, Proxy
from tests.waiting import eventually

EVENT = json.dumps({"type": "ADDED", "object": {"a": 1}}) + "\n"


@pytest.fixture
async def api() -> AsyncIterator[str]:
    """As many events as ``/watch/<number>`` says; ``/empty`` and ``/full`` answer 200; no watch of ``/gone``."""

    async def watch(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(EVENT.encode() * int(request.match_info["count"]))
        return response

    async def answer(request: web.Request) -> web.Response:
        text = "" if request.path == "/empty" else EVENT
        return web.Response(status=410 if request.path == "/gone" else 200, text=text, content_type="application/json")

    app = web.Application()
    app.router.add_get("/watch/{count}", watch)
    app.router.add_route("*", "/{name}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")


async def seen(api: str, plan: Plan, path: str, method: str = "GET") -> tuple[str, int]:
    """(what the client got: its text, or what went wrong; how many faults the proxy counts)."""
    proxy = Proxy(api, (plan,))
    async with proxy.serving(), aiohttp.ClientSession() as session:
        try:
            async with session.request(method, f"{proxy.url}/{path}") as answer:
                text = await answer.text()
        except aiohttp.ClientError as error:
            text = type(error).__name__
    return text, proxy.broken[str(plan)]


@pytest.mark.parametrize("act", ["break", "expire", "truncate", "hang-after", "lose"])
async def test_watch_that_nothing_breaks_is_not_counted(api: str, act: str) -> None:
    plan = Plan(act, "any", 1.0)  # type: ignore[arg-type]
    assert await seen(api, plan, "watch/1?watch=1") == (EVENT, 0)


@pytest.mark.parametrize("path", ["watch/0", "gone"])
@pytest.mark.parametrize("act", ["break", "expire", "repeat"])
async def test_watch_without_events_has_no_faults_of_events(api: str, act: str, path: str) -> None:
    plan = Plan(act, "watch", 1.0)  # type: ignore[arg-type]
    assert await seen(api, plan, f"{path}?watch=1") == (EVENT if path == "gone" else "", 0)


@pytest.mark.parametrize("act", ["break", "repeat", "expire"])
async def test_answer_that_ends_has_no_faults_of_watches(api: str, act: str) -> None:
    plan = Plan(act, "any", 1.0)  # type: ignore[arg-type]
    assert await seen(api, plan, "full") == (EVENT, 0)


async def test_answer_without_a_body_cannot_be_halved(api: str) -> None:
    assert await seen(api, Plan("truncate", "any", 1.0), "empty") == ("", 0)


async def test_faults_of_events_are_counted_one_by_one(api: str) -> None:
    assert await seen(api, Plan("repeat", "watch", 1.0), "watch/3?watch=1") == (EVENT * 6, 3)
    text, count = await seen(api, Plan("expire", "watch", 1.0), "watch/3?watch=1")
    assert [json.loads(line)["type"] for line in text.splitlines()] == ["ADDED", "ERROR"]
    assert count == 1
    text, count = await seen(api, Plan("break", "watch", 1.0), "watch/3?watch=1")
    assert (text, count) == ("ClientPayloadError", 1)


@pytest.mark.parametrize(
    ("act", "method", "what"),
    [
        ("refuse", "GET", '"code": 500'),
        ("lose", "POST", "ServerDisconnectedError"),
        ("reset", "POST", "ServerDisconnectedError"),
        ("truncate", "GET", "ClientPayloadError"),
    ],
)
async def test_fault_that_is_counted_is_seen(api: str, act: str, method: str, what: str) -> None:
    text, count = await seen(api, Plan(act, "any", 1.0), "full", method)  # type: ignore[arg-type]
    assert what in text
    assert count == 1


@pytest.mark.parametrize("act", ["hang", "hang-after"])
async def test_fault_that_hangs_is_counted_and_nothing_is_answered(api: str, act: str) -> None:
    plan = Plan(act, "any", 1.0)  # type: ignore[arg-type]
    proxy = Proxy(api, (plan,))
    async with proxy.serving(), aiohttp.ClientSession() as session:
        asked = asyncio.create_task(session.post(f"{proxy.url}/full").__aenter__())
        await eventually(lambda: proxy.broken[str(plan)] == 1, what="the fault")
        assert [request.code for request in proxy.seen] == [0 if act == "hang" else 200]
        assert not asked.done()
        asked.cancel()
        await asyncio.wait({asked})


async def test_plan_whose_fault_never_came_to_pass_is_named(api: str) -> None:
    proxy = Proxy(api, (Plan("expire", "watch", 1.0), Plan("refuse", "read", 1.0)))
    async with proxy.serving(), aiohttp.ClientSession() as session:
        for path in ("watch/1?watch=1", "full"):
            async with session.get(f"{proxy.url}/{path}") as answer:
                await answer.read()
    assert proxy.never() == ["expire-watch"]


def test_runs_in_namespaces_of_their_own_have_the_same_faults() -> None:
    plan = Plan("refuse", "any", 0.5)
    drawn = [
        [plan.act_on("GET", f"/api/v1/namespaces/{team}/pods/x", is_watch=False, time_no=no) for no in range(40)]
        for team in ("team-1", "team-2")
    ]
    assert drawn[0] == drawn[1]
    assert {*drawn[0]} == {"pass", "refuse"}
