"""Questions to the registry: a look waits for an answer briefly, and the question goes on without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any

from slipway.registry import RegistryUnavailable, ResolvedModel

Ask = Callable[[str], Coroutine[Any, Any, ResolvedModel]]
"""Where a ``models:/`` URI leads; raises RegistryError."""
WAIT_S = 1.0
"""How long a look waits that asks, those after it do not: whoever rolls back, or edits percentages, meanwhile waits for the look."""
KEPT_S = 10.0
"""How long an answer that nobody has come back for is kept: several times the pause of who does."""


class StillAsked(RegistryUnavailable):
    """The answer may come: look again soon."""

    retry_after_s = WAIT_S


@dataclass
class PatientResolver:
    """One task for each question that is under way, or whose answer has not been fetched yet."""

    ask: Ask
    wait_s: float = WAIT_S
    _asked: dict[Hashable, asyncio.Task[ResolvedModel]] = field(default_factory=dict)

    async def __call__(self, question: Hashable, uri: str) -> ResolvedModel:
        """Where ``uri`` leads. ``question`` is the same while the answer to an earlier call would do.

        Raises:
            StillAsked: not answered yet; the same question later gets this answer. RegistryError.
        """
        task = self._asked.get(question)
        if task is None:
            task = self._asked[question] = asyncio.create_task(self.ask(uri), name=f"resolve {uri}")
            task.add_done_callback(lambda done: self._forget_later(question, done))
            await asyncio.wait({task}, timeout=self.wait_s)
        if not task.done():
            raise StillAsked(f"{uri}: the registry has not answered within {self.wait_s:g} s, the question stands")
        self._forget(question, task)
        return task.result()

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._asked.values())
        self._asked.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget_later(self, question: Hashable, task: asyncio.Task[ResolvedModel]) -> None:
        if not task.cancelled():
            task.exception()  # is read here, or asyncio would complain of one that nobody fetched
        if self._asked.get(question) is task:
            asyncio.get_running_loop().call_later(KEPT_S, self._forget, question, task)

    def _forget(self, question: Hashable, task: asyncio.Task[ResolvedModel]) -> None:
        if self._asked.get(question) is task:
            del self._asked[question]
