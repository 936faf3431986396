"""One key at a time, again after a change, later after a failure."""

from __future__ import annotations

import asyncio

import pytest

from slipway.controller import queue as queue_module
from slipway.controller.queue import MAX_RETRY_S, MAX_WISH_S, WorkQueue, retry_s
from slipway.kube.errors import TooManyRequests
from tests.waiting import eventually

KEY, OTHER = ("team", "iris"), ("team", "other")


class Work:
    """Records what runs; ``hold`` keeps it from ending."""

    def __init__(self) -> None:
        self.started: list[tuple[str, str]] = []
        self.running: dict[tuple[str, str], int] = {}
        self.overlapped = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: list[float] = []
        self.error: Exception | None = None
        self.later: float | None = None

    async def __call__(self, key: tuple[str, str]) -> float | None:
        self.started.append(key)
        self.overlapped |= bool(self.running.get(key))
        self.running[key] = 1
        await self.gate.wait()
        self.running[key] = 0
        if self.error:
            raise self.error
        later, self.later = self.later, None
        return later

    def failed(self, key: tuple[str, str], error: Exception, again_s: float) -> None:
        self.failures.append(again_s)


@pytest.fixture
async def work():
    made = Work()
    made.queue = WorkQueue(made, made.failed, draw=lambda: 1.0)
    yield made
    await made.queue.close()


async def test_changes_during_a_look_make_one_more_look(work):
    work.gate.clear()
    work.queue.add(KEY)
    await eventually(lambda: work.started, what="the first look")
    for _ in range(5):
        work.queue.add(KEY)
    work.queue.add(OTHER)
    await eventually(lambda: OTHER in work.started, what="another key beside it")
    assert work.started.count(KEY) == 1
    work.gate.set()
    await eventually(lambda: work.started.count(KEY) == 2, what="the second look")
    assert not work.overlapped


async def test_failures_wait_longer_each_time_up_to_a_limit(work, monkeypatch):
    monkeypatch.setattr(queue_module, "FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(queue_module, "MAX_RETRY_S", 0.004)
    work.error = RuntimeError("no")
    work.queue.add(KEY)
    await eventually(lambda: len(work.failures) >= 5, what="five failures")
    assert work.failures[:5] == [0.001, 0.002, 0.004, 0.004, 0.004]


async def test_success_ends_the_waiting(work, monkeypatch):
    monkeypatch.setattr(queue_module, "FIRST_RETRY_S", 0.001)
    work.error = RuntimeError("no")
    work.queue.add(KEY)
    await eventually(lambda: work.failures, what="a failure")
    work.error = None
    await eventually(lambda: len(work.started) > len(work.failures), what="a success")
    seen = len(work.started)
    work.queue.add(OTHER)
    await eventually(lambda: OTHER in work.started, what="the other key")
    assert len(work.started) == seen + 1


async def test_wish_to_look_again_is_granted(work):
    work.later = 0.001
    work.queue.add(KEY)
    await eventually(lambda: len(work.started) == 2, what="a second look")


def test_pause_is_jittered_and_bounded_however_long_it_fails():
    assert retry_s(1, None, draw=lambda: 0.0) == 0.25
    assert retry_s(100_000, None, draw=lambda: 1.0) == MAX_RETRY_S, "nights of failures are no overflow"


def test_servers_wish_is_granted_up_to_a_limit():
    assert retry_s(1, 7.0, draw=lambda: 1.0) == 7.0
    assert retry_s(1, 1e9, draw=lambda: 1.0) == MAX_WISH_S
    assert retry_s(20, 1.0, draw=lambda: 1.0) == MAX_RETRY_S


async def test_error_with_a_wish_is_looked_at_again_after_it(work):
    work.error = TooManyRequests({"code": 429, "details": {"retryAfterSeconds": 33}})
    work.queue.add(KEY)
    await eventually(lambda: work.failures, what="a failure")
    assert work.failures == [33.0]
