"""A look waits for the registry briefly; the question goes on."""

from __future__ import annotations

import asyncio

import pytest

from slipway.controller import resolver
from slipway.controller.resolver import PatientResolver, StillAsked
from slipway.registry import RegistryUnavailable, ResolvedModel
from tests.waiting import eventually

URI = "models:/shapes@champion"
MODEL = ResolvedModel("shapes", "2", None, "s3://models/2", alias="champion")


class Slow:
    """Answers when told to."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[ResolvedModel] = asyncio.get_running_loop().create_future()
        self.asked = 0

    async def __call__(self, uri: str) -> ResolvedModel:
        assert uri == URI
        self.asked += 1
        return await asyncio.shield(self.answer)


async def test_question_that_was_not_waited_for_is_asked_once_and_answers_the_next_look():
    slow = Slow()
    patient = PatientResolver(slow, wait_s=0.01)
    for _ in range(3):
        with pytest.raises(StillAsked, match="has not answered within 0.01 s"):
            await patient("look", URI)
    slow.answer.set_result(MODEL)
    await asyncio.gather(*patient._asked.values())
    assert (await patient("look", URI), slow.asked) == (MODEL, 1)
    assert (await patient("look", URI), slow.asked) == (MODEL, 2), "an answer is for one look"


async def test_another_question_is_not_answered_by_an_older_one():
    slow = Slow()
    patient = PatientResolver(slow, wait_s=0.01)
    for question in ("before the edit", "after it"):
        with pytest.raises(StillAsked):
            await patient(question, URI)
    assert slow.asked == 2
    await patient.close()


async def test_refusal_is_told_to_the_next_look():
    slow = Slow()
    patient = PatientResolver(slow, wait_s=0.01)
    with pytest.raises(StillAsked):
        await patient("look", URI)
    slow.answer.set_exception(RegistryUnavailable("maintenance"))
    await asyncio.gather(*patient._asked.values(), return_exceptions=True)
    with pytest.raises(RegistryUnavailable, match="maintenance"):
        await patient("look", URI)


async def test_answer_that_nobody_comes_back_for_is_forgotten(monkeypatch):
    monkeypatch.setattr(resolver, "KEPT_S", 0.01)
    slow = Slow()
    patient = PatientResolver(slow, wait_s=0.01)
    with pytest.raises(StillAsked):
        await patient("gone", URI)
    slow.answer.set_exception(RegistryUnavailable("maintenance"))

    async def forgotten() -> bool:
        return not patient._asked

    await eventually(forgotten, what="the answer is forgotten")
