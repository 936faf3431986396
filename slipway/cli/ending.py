"""How a command that has something to tidy up ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def term_is_interrupt() -> Iterator[None]:
    """Within the block SIGTERM does what Ctrl-C does: KeyboardInterrupt, or the end of asyncio's main task."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)
