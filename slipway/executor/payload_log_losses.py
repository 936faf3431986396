"""Counts what became of payload events: metrics, and now and then one line that says what was lost."""

from __future__ import annotations

import logging
import time
from collections import Counter as Tally
from collections.abc import Callable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

from slipway.executor.limits import LOG_COMPLAINT_S

LOG = logging.getLogger(__name__)
Reason = Literal["bytes", "queue_full", "unreachable", "refused", "shutdown", "error"]
"""Why an event was lost: too many bytes, too many entries, a receiver away or unwilling, the end, a fault of ours."""


class Losses:
    """``waiting`` and ``held_bytes`` are read when the metrics are."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        waiting: Callable[[], float],
        held_bytes: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        name = "slipway_payload_log"
        self._delivered = Counter(f"{name}_delivered", "Payload events that their receivers took", registry=registry)
        self._dropped = Counter(f"{name}_dropped", "Payload events that were lost", ["reason"], registry=registry)
        Gauge(f"{name}_waiting", "Payload events that wait to be sent", registry=registry).set_function(waiting)
        gauge = Gauge(
            f"{name}_held_bytes", "Bytes of the payload events that wait or are being sent", registry=registry
        )
        gauge.set_function(held_bytes)
        self._clock = clock
        self._untold: Tally[str] = Tally()
        self._last_why = ""
        self._told_at = float("-inf")

    def delivered(self) -> None:
        self._delivered.inc()

    def lost(self, reason: Reason, count: int = 1, *, why: str = "") -> None:
        """Count it; one line at once, then at most one in LOG_COMPLAINT_S."""
        if not count:
            return
        self._dropped.labels(reason).inc(count)
        self._untold[reason] += count
        self._last_why = why or self._last_why
        if self._clock() - self._told_at >= LOG_COMPLAINT_S:
            self._tell()

    def close(self) -> None:
        """Tell what no line has told yet."""
        if self._untold:
            self._tell()

    def _tell(self) -> None:
        counts = ", ".join(f"{reason} {count}" for reason, count in sorted(self._untold.items()))
        LOG.warning("payload events lost: %s%s", counts, f"; the last: {self._last_why}" if self._last_why else "")
        self._told_at = self._clock()
        self._untold.clear()
        self._last_why = ""
