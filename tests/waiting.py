"""Waiting for a condition instead of sleeping."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")
POLL_S = 0.02


def wait_until(predicate: Callable[[], T], *, timeout_s: float = 10.0, what: str = "the condition") -> T:
    """The first truthy value of ``predicate``; AssertionError when there is none in time."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while True:
        if value := predicate():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout_s} s; last value: {value!r}")
        pause.wait(POLL_S)


@overload
async def eventually(
    predicate: Callable[[], Coroutine[Any, Any, T]], *, timeout_s: float = ..., what: str = ...
) -> T: ...
@overload
async def eventually(predicate: Callable[[], T], *, timeout_s: float = ..., what: str = ...) -> T: ...
async def eventually(
    predicate: Callable[[], Awaitable[T] | T], *, timeout_s: float = 10.0, what: str = "the condition"
) -> T:
    """``wait_until`` for coroutines (a plain function works too)."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout_s} s; last value: {value!r}")
        await asyncio.sleep(POLL_S)
