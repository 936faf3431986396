"""A refused request leaves nothing behind, without waiting for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from slipway.microservice.service import ComponentThreads


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
