"""Drills one after another: what one of them cannot do is a row of its own, and takes nothing from the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from slipway.drill import run
from slipway.drill.drills import chosen
from slipway.drill.errors import DrillError
from slipway.drill.run import Plan, hold
from slipway.drill.site import Site
from slipway.drill.subject import Models, Subject
from slipway.drill.verdict import Row
from slipway.kube.errors import KubeError, Unavailable
from tests.drill.test_table import GOOD

PLAN = Plan(("a.jpg",), Models(), rate=10.0)


class Quiet:
    """A site on which everything is well at once."""

    async def install(self, _wanted: object) -> None:
        return


@pytest.mark.parametrize("error", [DrillError("drill/executor does not run"), Unavailable("the API is away")])
async def test_drill_that_cannot_go_on_leaves_the_rows_of_the_others(
    monkeypatch: pytest.MonkeyPatch, error: DrillError | KubeError
) -> None:
    async def at_rest(*_: Any) -> dict[str, Any]:
        return {}

    async def held(_site: Site, drill: Any, *_: Any, **_more: Any) -> Row:
        if drill.name == "executor":
            raise error
        return GOOD

    monkeypatch.setattr(run, "at_rest", at_rest)
    monkeypatch.setattr(run, "held", held)
    said: list[str] = []
    rows = await hold(cast(Site, Quiet()), chosen(["pod", "executor", "s3"]), PLAN, say=said.append)
    assert [row.is_kept for row in rows] == [True, False, True]
    assert (rows[1].drill, rows[1].sent) == ("executor", 0)
    assert f"not held to its end: {error}" in rows[1].problems
    assert f"  not held: {error}" in said


async def test_platform_that_is_not_well_before_the_first_drill_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_rest(*_: Any) -> dict[str, Any]:
        raise DrillError("no answer at rest")

    monkeypatch.setattr(run, "at_rest", at_rest)
    with pytest.raises(DrillError, match="no answer at rest"):
        await hold(cast(Site, Quiet()), chosen(["pod"]), PLAN, say=lambda _: None)


async def test_answers_at_rest_are_those_of_the_whole_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """With readiness switched off an ending Pod of the old model answered, and each right reply of the new one was wrong."""
    installed: list[Subject] = []

    class Remembering(Quiet):
        async def install(self, wanted: object) -> None:
            installed.append(cast(Subject, wanted))

    async def at_rest(*_: Any) -> dict[str, Any]:
        assert not installed[-1].without
        return {}

    async def held(*_: Any, **_more: Any) -> Row:
        assert installed[-1].without == {"readiness"}
        return GOOD

    monkeypatch.setattr(run, "at_rest", at_rest)
    monkeypatch.setattr(run, "held", held)
    plan = replace(PLAN, without=frozenset({"readiness"}))
    await hold(cast(Site, Remembering()), chosen(["roll"]), plan, say=lambda _: None)
    assert [one.uses_following for one in installed[:2]] == [False, True]
