"""A cancellation in the same turn of the event loop as a time limit of the task that is cancelled."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

ENDS_S = 10.0


async def cancel_with_its_timeout(task: asyncio.Task[Any], *, limit_s: float) -> None:
    """``task`` waits under a limit of ``limit_s`` or less; raises AssertionError unless the cancellation ends it."""
    loop = asyncio.get_running_loop()
    loop.call_later(limit_s, task.cancel)
    loop.call_soon(threading.Event().wait, 2 * limit_s)  # when the loop goes on, both are due
    await asyncio.wait({task}, timeout=ENDS_S)
    assert task.cancelled(), f"the cancellation was lost: {task}"
