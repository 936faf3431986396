"""The events that wait to be sent, bounded in number, bytes and time; it never makes anyone wait."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from slipway.executor.payload_log_event import Event

Loss = Literal["bytes", "queue_full"]


@dataclass(frozen=True, slots=True)
class Bounds:
    entries: int
    wait_s: float
    """How long one more event may wait for a place among ``entries``."""
    max_bytes: int


class EventQueue:
    """First in, first out. Bytes count until ``done``, so that events being sent are within the bound too."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._queue: deque[Event] = deque()
        self._waiting: deque[tuple[float, Event]] = deque()  # (until, event): beyond the bound on entries
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._waiting)

    def put(self, event: Event, *, now: float) -> Loss | None:
        """Take it, or say why not."""
        if self.bytes + event.size_bytes > self._bounds.max_bytes:
            return "bytes"
        if len(self._queue) < self._bounds.entries:
            self._queue.append(event)
        elif self._bounds.wait_s > 0:
            self._waiting.append((now + self._bounds.wait_s, event))
        else:
            return "queue_full"
        self.bytes += event.size_bytes
        return None

    def take(self) -> Event | None:
        """The next event; its place goes to the first that waits for one."""
        if not self._queue:
            return None
        event = self._queue.popleft()
        if self._waiting:
            self._queue.append(self._waiting.popleft()[1])
        return event

    def expire(self, *, now: float) -> int:
        """Drop those that have waited too long for a place; how many."""
        count = 0
        while self._waiting and self._waiting[0][0] <= now:
            self.bytes -= self._waiting.popleft()[1].size_bytes
            count += 1
        return count

    def next_expiry(self) -> float | None:
        """When ``expire`` has something to do."""
        return self._waiting[0][0] if self._waiting else None

    def done(self, event: Event) -> None:
        """It is sent, or given up."""
        self.bytes -= event.size_bytes

    def clear(self) -> int:
        """Give up all that still wait; how many."""
        left = [*self._queue, *(event for _, event in self._waiting)]
        self._queue.clear()
        self._waiting.clear()
        for event in left:
            self.done(event)
        return len(left)
