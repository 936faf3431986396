"""The generator as a process, against a server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from slipway.drill import load as load_module
from slipway.drill.errors import DrillError
from slipway.drill.load import Load
from slipway.drill.order import Order
from tests.drill.replies import MODEL, detection
from tests.ports import free_ports
from tests.waiting import eventually

BOXES = {"jsonData": {"detections": [detection()]}}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(handler: Handler, port: int = 0) -> AsyncIterator[str]:
    app = web.Application(client_max_size=2**22)
    app.router.add_post("/", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def answer(request: web.Request) -> web.Response:
    await request.read()
    return web.json_response(BOXES, headers={"x-slipway-predictor": "main", "x-slipway-model": MODEL})


@pytest.fixture
def photos(tmp_path: Path) -> tuple[str, ...]:
    for name, size in (("a", 50_000), ("b", 900_000)):
        (tmp_path / name).write_bytes(b"x" * size)
    return str(tmp_path / "a"), str(tmp_path / "b")


async def test_open_loop_sends_every_photo_in_turn_at_the_rate(photos: tuple[str, ...]) -> None:
    async with served(answer) as url, Load(Order(url, photos, rate=50, count=40)) as load:
        await load.finished()
    assert [reply.photo for reply in sorted(load.replies, key=lambda one: one.due)] == [0, 1] * 20
    dues = sorted(reply.due for reply in load.replies)
    assert dues[-1] - dues[0] == pytest.approx(39 / 50)
    first = load.replies[0]
    assert (first.is_valid, first.predictor, first.model) == (True, "main", MODEL)
    assert first.detections == (detection(),)
    assert load.effort is not None
    assert load.effort.cpu_s > 0
    assert load.effort.wall_s >= 39 / 50


async def test_stall_shows_in_every_request_that_was_due_in_it(photos: tuple[str, ...]) -> None:
    """A closed loop, or latencies from when it was sent, would see one slow request."""
    waiting, gate = 0, asyncio.Event()

    async def stalled(request: web.Request) -> web.Response:
        nonlocal waiting
        waiting += 1
        if waiting == 40:
            gate.set()
        await gate.wait()
        return await answer(request)

    async with served(stalled) as url, Load(Order(url, photos[:1], rate=100, count=50)) as load:
        await load.finished()
    assert sum(reply.latency_s > 0.1 for reply in load.replies) >= 25


async def test_closed_loop_waits_for_its_answers(photos: tuple[str, ...]) -> None:
    under_way, most = 0, 0

    async def counted(request: web.Request) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await answer(request)
        finally:
            under_way -= 1

    async with served(counted) as url, Load(Order(url, photos, at_once=3, count=30)) as load:
        await load.finished()
    assert len(load.replies) >= 30
    assert 0 < most <= 3


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (503, b"busy", "busy"),
        (200, b"", "an empty body"),
        (200, b'{"jsonData": {}}', '{"jsonData": {}}'),
        (200, b'{"jsonData": {"detections": [1]}}', '{"jsonData": {"detections": [1]}}'),
    ],
)
async def test_answer_without_boxes_is_not_valid(photos: tuple[str, ...], status: int, body: bytes, said: str) -> None:
    async def bad(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    async with served(bad) as url, Load(Order(url, photos, rate=50, count=1)) as load:
        await load.finished()
    (reply,) = load.replies
    assert (reply.is_valid, reply.status, reply.error) == (False, status, said)


async def test_answer_that_no_line_holds_ends_the_load_and_its_process(
    photos: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_module, "LINE_BYTES", 50)
    load = Load(Order("", photos, rate=50))
    with pytest.raises(DrillError, match="no reply, or one above 50 bytes"):
        async with served(answer) as url, Load(replace(load.order, url=url)) as load:
            await load.finished()
    assert load._process.returncode is not None


async def test_request_without_an_answer_in_time_is_late(photos: tuple[str, ...]) -> None:
    async def silent(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with served(silent) as url, Load(Order(url, photos, rate=50, count=2, timeout_s=0.3, retries=True)) as load:
        await load.finished()
    assert [(reply.status, reply.error) for reply in load.replies] == [(0, "no answer within 0.3 s")] * 2


@pytest.mark.parametrize(("retries", "is_valid"), [(True, True), (False, False)])
async def test_broken_connection_is_tried_again_only_where_asked_for(
    photos: tuple[str, ...], retries: bool, is_valid: bool
) -> None:
    broken = False

    async def once(request: web.Request) -> web.StreamResponse:
        nonlocal broken
        if not broken:
            broken = True
            assert request.transport is not None
            request.transport.abort()
        return await answer(request)

    async with served(once) as url, Load(Order(url, photos, rate=20, count=1, retries=retries)) as load:
        await load.finished()
    (reply,) = load.replies
    assert (reply.is_valid, reply.tries, reply.refused) == (is_valid, 2 if retries else 1, 0)


async def test_refused_connections_are_counted_until_somebody_listens(photos: tuple[str, ...]) -> None:
    (port,) = free_ports(1)
    async with Load(Order(f"http://127.0.0.1:{port}/", photos, rate=1, count=2, retries=True)) as load:
        async with served(answer, port):
            await eventually(lambda: bool(load.replies), timeout_s=30, what="the first reply")
        second_due = load.replies[0].due + 1
        await eventually(lambda: time.monotonic() > second_due + 1.5, what="somebody has knocked in vain")
        async with served(answer, port):
            await load.finished()
    second = load.replies[1]
    assert second.is_valid
    assert second.tries > second.refused >= 1
    assert second.latency_s > 1


async def test_load_ends_with_its_block_and_keeps_what_was_under_way(photos: tuple[str, ...]) -> None:
    async with served(answer) as url, Load(Order(url, photos, rate=50)) as load:
        await eventually(lambda: len(load.replies) >= 5)
    assert all(reply.is_valid for reply in load.replies)


async def test_generator_that_cannot_work_says_why(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.jpg")
    with pytest.raises(DrillError, match=r"ended with 1: .*missing\.jpg"):
        async with Load(Order("http://127.0.0.1:1/", (missing,), rate=1)) as load:
            await load.finished()


@pytest.mark.parametrize("loop", [{}, {"rate": 1.0, "at_once": 1}])
def test_order_is_one_kind_of_loop(loop: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="one of them is above 0"):
        Order("http://x/", ("a",), **loop)  # type: ignore[arg-type]


def test_order_survives_its_line() -> None:
    order = Order("http://x/", ("a", "b"), rate=2.5, count=3, retries=True)
    assert Order.parse(order.as_line()) == order
    assert json.loads(order.as_line())["rate"] == 2.5
