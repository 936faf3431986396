"""How many threads a numeric library may start: the share of the machine that the container was given."""

from __future__ import annotations

import os

THREADS_VARIABLE = "OMP_NUM_THREADS"


def thread_count() -> int:
    """``OMP_NUM_THREADS`` where it is a positive number; else the processors that this process may use."""
    text = os.environ.get(THREADS_VARIABLE, "")
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else len(os.sched_getaffinity(0))
