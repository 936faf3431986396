"""Coroutines for blocking code: one event loop in one background thread of the process.

A notebook's own thread already runs a loop, so ``asyncio.run`` is not possible there; and gRPC's asyncio half wants all
its calls in one loop.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
CLOSE_TIMEOUT_S = 2.0
"""For what a forgotten client leaves behind."""


class _Background:
    """The loop and its thread, made when first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._selector: selectors.BaseSelector | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                self._selector = selectors.DefaultSelector()
                self._loop = asyncio.SelectorEventLoop(self._selector)
                self._thread = threading.Thread(target=self._loop.run_forever, name="slipway-client", daemon=True)
                self._thread.start()
            return self._loop

    def living(self) -> asyncio.AbstractEventLoop | None:
        return self._loop if self._thread is not None and self._thread.is_alive() else None

    def begin_anew(self) -> None:
        """In a forked process, which has no such thread.

        What the parent waits for (epoll) is the child's too: nothing here may take a connection out of it.
        """
        if self._selector is not None:
            self._selector.close()
        self._lock, self._selector, self._loop, self._thread = threading.Lock(), None, None, None

    def runs_here(self) -> bool:
        return threading.current_thread() is self._thread


_BACKGROUND = _Background()
os.register_at_fork(after_in_child=_BACKGROUND.begin_anew)


def run(work: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result; an interrupt (Ctrl-C, a notebook's stop button) cancels it."""
    if _BACKGROUND.runs_here():
        work.close()
        raise RuntimeError("a blocking call inside the client's own thread: use AsyncClient there")
    future = asyncio.run_coroutine_threadsafe(work, _BACKGROUND.loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def finish(close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """For finalizers, which may run anywhere and at exit: nothing where no call was ever made; no lock is taken."""
    loop = _BACKGROUND.living()
    if loop is None:
        return
    future = asyncio.run_coroutine_threadsafe(close(), loop)
    if not _BACKGROUND.runs_here():
        future.result(CLOSE_TIMEOUT_S)
