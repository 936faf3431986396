"""How a command that has something to tidy up ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


@contextmanager
def term_is_interrupt() -> Iterator[None]:
    """Within the block SIGTERM is a KeyboardInterrupt, as Ctrl-C is; asyncio cancels its tasks and waits for what they tidy up.

    Not by way of SIGINT, which a command started in the background ignores.
    """
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
