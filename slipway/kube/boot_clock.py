"""The clock for durations: nobody sets it, and it counts while the machine sleeps. The wall clock is for what people read."""

from __future__ import annotations

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_time() -> float:
    """Seconds since the machine was booted (clock_gettime(2), CLOCK_BOOTTIME; where there is none, CLOCK_MONOTONIC)."""
    return time.clock_gettime(_CLOCK)
