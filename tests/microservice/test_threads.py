"""A refused request leaves nothing behind, without waiting for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from slipway.microservice.hang import patience_s
from slipway.microservice.threads import ComponentThreads
from tests.waiting import eventually


class Parsed:
    """Stands for what a call made of its request."""


async def test_error_of_a_call_keeps_nothing_that_the_call_made() -> None:
    threads = ComponentThreads(1)
    made: list[weakref.ref[Parsed]] = []

    def call() -> None:
        parsed = Parsed()
        made.append(weakref.ref(parsed))
        raise ValueError("refused")

    gc.disable()
    try:
        with pytest.raises(ValueError, match="refused"):
            await threads.run(call)
        await asyncio.sleep(0)  # the loop drops the last callback
        await threads.run(lambda: None)  # and the thread its last call
        assert made[0]() is None
    finally:
        gc.enable()
        threads.close()


async def test_longest_call_is_the_oldest_that_still_runs() -> None:
    threads = ComponentThreads(2)
    goes_on = threading.Event()
    assert threads.longest_s() == 0
    try:
        call = asyncio.create_task(threads.run(goes_on.wait))
        await eventually(lambda: threads.longest_s() > 0, what="the call")
        await threads.run(lambda: None)
        assert threads.longest_s() > 0
        goes_on.set()
        await call
        assert threads.longest_s() == 0
    finally:
        goes_on.set()
        threads.close()


def test_patience_is_the_annotation_s_but_never_short() -> None:
    assert patience_s({}) == 5000
    assert patience_s({"seldon.io/rest-timeout": "90000"}) == 90
    assert patience_s({"seldon.io/rest-timeout": "100"}) == 60
