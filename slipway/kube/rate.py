"""A token bucket for one's own requests: an API server is shared, and its own defence (429) comes late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Rate:
    """``per_s`` requests a second in the long run, ``burst`` at once."""

    per_s: float
    burst: int
    clock: Callable[[], float] = time.monotonic
    _free_at: float = field(default=float("-inf"))
    """When the bucket would be full again: one number says how full it is now."""

    def reserve(self) -> float:
        """Take one token, of the future if there is none now: seconds to wait for it."""
        now, cost = self.clock(), 1 / self.per_s
        self._free_at = max(self._free_at, now) + cost
        return max(0.0, self._free_at - now - self.burst * cost)

    async def wait(self) -> None:
        """Returns when the next request may be sent; whoever asked first goes first."""
        if (pause := self.reserve()) > 0:
            await asyncio.sleep(pause)
