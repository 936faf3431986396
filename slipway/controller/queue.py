"""Keys to reconcile: each one at a time, again after a change, later after a failure."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

FIRST_RETRY_S = 0.5
MAX_RETRY_S = 30.0
MAX_WISH_S = 120.0
"""No server may send a SeldonDeployment away for longer than this (Retry-After)."""
MAX_AT_ONCE = 8

Key = tuple[str, str]
"""(namespace, name) of a SeldonDeployment."""


@dataclass
class WorkQueue:
    """``reconcile(key)`` returns None when done, or seconds after which to look again."""

    reconcile: Callable[[Key], Awaitable[float | None]]
    on_error: Callable[[Key, Exception, float], None]
    draw: Callable[[], float] = random.random
    _running: dict[Key, asyncio.Task[None]] = field(default_factory=dict)
    _again: set[Key] = field(default_factory=set)
    _timers: dict[Key, asyncio.TimerHandle] = field(default_factory=dict)
    _failures: dict[Key, int] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_AT_ONCE))

    @property
    def depth(self) -> int:
        """Keys that wait for a slot, or for the look under way to end; not those that wait for a time."""
        return max(0, len(self._running) - MAX_AT_ONCE) + len(self._again)

    @property
    def active(self) -> int:
        """Looks under way."""
        return min(len(self._running), MAX_AT_ONCE)

    def add(self, key: Key) -> None:
        """Look at ``key`` now, or once more when the look under way is over."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._running:
            self._again.add(key)
        else:
            self._running[key] = asyncio.create_task(self._run(key), name=f"reconcile {key[0]}/{key[1]}")

    async def _run(self, key: Key) -> None:
        later: float | None = None
        try:
            async with self._slots:
                later = await self.reconcile(key)
            self._failures.pop(key, None)
        except Exception as exc:  # noqa: BLE001  - one SeldonDeployment must not end the controller; it is reported
            self._failures[key] = self._failures.get(key, 0) + 1
            later = retry_s(self._failures[key], getattr(exc, "retry_after_s", None), draw=self.draw)
            self.on_error(key, exc, later)
        finally:
            del self._running[key]
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        elif later is not None:
            self._timers[key] = asyncio.get_running_loop().call_later(later, self.add, key)

    async def close(self) -> None:
        """Let go of everything that waits or runs."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def retry_s(failures: int, wish_s: float | None, *, draw: Callable[[], float]) -> float:
    """The pause after the n-th failure in a row (from 1): doubling, capped, jittered down to a half; or what the server asks.

    Many SeldonDeployments that fail together, as when the API is away, do not come back together.
    """
    pause = min(FIRST_RETRY_S * 2.0 ** min(failures - 1, 30), MAX_RETRY_S) * (0.5 + draw() / 2)
    return max(pause, min(wish_s or 0.0, MAX_WISH_S))
