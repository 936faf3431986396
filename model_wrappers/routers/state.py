"""Where a router keeps what it has learnt: shared between replicas, or in this process alone because someone said so."""

from __future__ import annotations

import threading
from typing import Protocol

from model_wrappers.routers.arms import Arms, rewarded, unknown

MEMORY, POSTGRES = "memory", "postgres"
STATES = (POSTGRES, MEMORY)
DSN_VARIABLE = "ROUTER_STATE_DSN"  # address of PostgreSQL, from a Secret


class StateAwayError(Exception):
    """The state cannot be changed now; what was last known of it still can be read."""


class ArmState(Protocol):
    """Used by several threads at a time."""

    @property
    def arms(self) -> Arms:
        """What was last known: never waits."""

    @property
    def is_reachable(self) -> bool:
        """Whether ``reward`` would be expected to work."""

    def start(self) -> None:
        """Before anything else. Raises what makes it impossible."""

    def reward(self, branch: int, reward: float) -> None:
        """Count one feedback. Raises StateAwayError where that is not possible."""

    def close(self) -> None:
        """End what ``start`` began."""


class MemoryState:
    """Of one process; a restart begins anew."""

    is_reachable = True

    def __init__(self, n_branches: int, *, decay: float) -> None:
        self.arms = unknown(n_branches)
        self._decay = decay
        self._lock = threading.Lock()

    def start(self) -> None:
        """Nothing has to be reached."""

    def reward(self, branch: int, reward: float) -> None:
        with self._lock:
            self.arms = rewarded(self.arms, branch, reward, decay=self._decay)

    def close(self) -> None:
        """Nothing is held."""
