"""A process that hangs is told from one that is slow, not ready, gone, or asked late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from slipway.onebox.supervisor import silence
from slipway.onebox.supervisor.silence import QUESTIONS, Silence
from slipway.onebox.supervisor.spec import NotReadyError, SilentError

HUNG_AFTER_S = 0.05


async def yes() -> None:
    return


async def no() -> None:
    raise NotReadyError("503")


async def nothing() -> None:
    raise SilentError("no answer")


async def never() -> None:
    await asyncio.Event().wait()


async def held_up() -> None:
    time.sleep(0.2)  # noqa: ASYNC251  - this process itself stands still
    raise SilentError("no answer")


Answer = Callable[[], Awaitable[None]]


@dataclass
class Asked:
    """Gives its answers in turn, then silence."""

    answers: list[Answer]
    count: int = field(default=0, init=False)

    async def check(self) -> None:
        self.count += 1
        await (self.answers.pop(0) if self.answers else nothing)()


async def asked_until_hung(*answers: Answer) -> int:
    probe = Asked(list(answers))
    lasted_s = await asyncio.wait_for(Silence(probe, hung_after_s=HUNG_AFTER_S).lasts(), 20)
    assert lasted_s >= HUNG_AFTER_S
    return probe.count


async def test_silence_is_that_of_several_questions_in_a_row() -> None:
    assert 2 <= await asked_until_hung() <= QUESTIONS + 1


@pytest.mark.parametrize("answer", [yes, no])
async def test_any_answer_ends_a_silence(answer: Answer) -> None:
    asked = [*[nothing, answer] * 20]
    assert await asked_until_hung(*asked) > len(asked)


async def test_probe_without_an_end_is_silent_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "ANSWER_WITHIN_S", 0.01)
    assert await asked_until_hung(*[never] * 20) <= 20


async def test_questions_that_were_held_up_here_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "ANSWER_WITHIN_S", 0.05)
    monkeypatch.setattr(silence, "OWN_DELAY_S", 0.05)
    assert await asked_until_hung(*[held_up] * 4) > 4
