"""How long a process has not answered: the mark of one that hangs, which still holds its ports."""

from __future__ import annotations

import asyncio
import time

from slipway.onebox.supervisor.spec import NotReadyError, Probe, SilentError

QUESTIONS = 5
"""Asked in ``hung_after_s``, each without an answer: one that was late on a busy machine is no sign of anything."""

ANSWER_WITHIN_S = 5.0
"""For a probe that has no limit of its own, or cannot keep it."""

OWN_DELAY_S = 2.0
"""A question that took so much longer than it may was held up here, as a starved machine holds up everything."""


class Silence:
    """Asks one process again and again. Any answer ends its silence, "not ready" and a refused connection too."""

    def __init__(self, probe: Probe, *, hung_after_s: float) -> None:
        self._probe, self._hung_after_s = probe, hung_after_s
        self._period_s = hung_after_s / QUESTIONS
        self._since_s: float | None = None

    async def lasts(self) -> float:
        """Return once the process has been silent for ``hung_after_s``, with the seconds of it."""
        while True:
            due_s = time.monotonic() + self._period_s
            await asyncio.sleep(self._period_s)
            begun_s = time.monotonic()
            is_silent = await self._is_silent()
            ended_s = time.monotonic()
            if not is_silent or ended_s - due_s > ANSWER_WITHIN_S + OWN_DELAY_S:
                self._since_s = None
                continue
            self._since_s = begun_s if self._since_s is None else self._since_s
            if ended_s - self._since_s >= self._hung_after_s:
                return ended_s - self._since_s

    async def _is_silent(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._probe.check()
        except (SilentError, TimeoutError):
            return True
        except NotReadyError:
            return False
        return False
