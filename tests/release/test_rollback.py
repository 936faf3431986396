"""Going back, with the real API and the controller; the test plays the runner."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from slipway.contract.annotations import ROLLBACK
from slipway.contract.following import RollbackRequest
from slipway.kube.kinds import SELDON_DEPLOYMENT
from slipway.registry import InvalidMove, RegistryAddress
from slipway.release import RollbackRefused, RollbackTimeout, RolledBack, roll_back, rollback
from tests.contract.manifests import sdep
from tests.controller.conftest import NAMESPACE, Platform
from tests.controller.test_follow import follower, selected, serve
from tests.waiting import eventually


async def go_back(platform: Platform, *, registry: RegistryAddress | None = None, **options: str) -> RolledBack:
    said = {"who": "ann", "why": "too many boxes", **options}
    async with aiohttp.ClientSession() as session:
        return await roll_back(
            "iris",
            namespace=NAMESPACE,
            kube=platform.kube,
            registry=registry or platform.address,
            session=session,
            **said,
        )


async def at_version_2(platform: Platform) -> None:
    await platform.apply(follower())
    await serve(platform, "1")
    platform.registry.aliases["champion"] = "2"
    await serve(platform, "2")


async def test_traffic_goes_back_and_then_the_alias(platform):
    await at_version_2(platform)
    lines: list[str] = []
    async with aiohttp.ClientSession() as session:
        done = await roll_back(
            "iris",
            namespace=NAMESPACE,
            kube=platform.kube,
            registry=platform.address,
            session=session,
            who="ann",
            why="too many boxes",
            on_plan=lines.append,
        )
    assert lines == [done.plan.line]
    assert await selected(platform) == done.plan.target.name
    assert platform.registry.aliases == {"champion": "1"}
    assert [(move.version, move.before, move.who) for move in done.moves] == [("1", "2", "ann")]
    assert (done.alias_error, done.switched_after_s < 2) == ("", True)
    await platform.until(lambda status: "rejected" not in status["following"][0], what="the alias is followed again")
    with pytest.raises(RollbackRefused, match="already"):
        await go_back(platform)


async def test_registry_that_is_away_does_not_keep_traffic(platform):
    await at_version_2(platform)
    platform.registry.is_away = True
    done = await go_back(platform)
    assert (await selected(platform)).startswith("v1-")
    assert "models:/shapes@champion was not moved back" in done.alias_error
    assert "`slipway model promote shapes 1 --alias champion`" in done.alias_error


async def test_nothing_is_written_for_what_is_refused(platform):
    await platform.apply(sdep())
    with pytest.raises(RollbackRefused, match="no predictor follows"):
        await go_back(platform)
    with pytest.raises(InvalidMove, match="why has 1001 characters"):
        await go_back(platform, why="a" * 1001)
    found = await platform.kube.get(SELDON_DEPLOYMENT, "iris", namespace=NAMESPACE)
    assert "annotations" not in found["metadata"]


async def test_controller_that_does_not_act_is_said_after_a_while(platform, monkeypatch):
    await at_version_2(platform)
    await platform.stop()
    monkeypatch.setattr(rollback, "SWITCH_TIMEOUT_S", 0.2)
    with pytest.raises(RollbackTimeout, match="does not serve after 0 s: is the controller up"):
        await go_back(platform)


async def until_asked(platform: Platform) -> None:
    async def is_asked() -> bool:
        found = await platform.kube.get(SELDON_DEPLOYMENT, "iris", namespace=NAMESPACE)
        return ROLLBACK in (found["metadata"].get("annotations") or {})

    await eventually(is_asked, what="the request is written")


async def test_alias_that_somebody_else_has_moved_meanwhile_stays_there(platform):
    await at_version_2(platform)
    await platform.stop()
    platform.registry.aliases["champion"] = "3"
    going = asyncio.create_task(go_back(platform))
    await until_asked(platform)
    await platform.restart()
    done = await going
    assert platform.registry.aliases == {"champion": "3"}
    assert (done.moves, "was not moved back (" in done.alias_error) == ((), True)
    assert "it names version 3" in done.alias_error


async def test_rollback_that_another_one_replaced_says_so(platform):
    await at_version_2(platform)
    await platform.stop()
    first = asyncio.create_task(go_back(platform))
    await until_asked(platform)
    other = RollbackRequest("main", "v9-00000000", "bob", "t9")
    body = {"metadata": {"annotations": {ROLLBACK: other.render()}}}
    await platform.kube.patch(SELDON_DEPLOYMENT, "iris", body, type="merge", namespace=NAMESPACE)
    await platform.restart()
    with pytest.raises(RollbackRefused, match="the rollback of predictor main by bob took the place of this one"):
        await first


@pytest.mark.parametrize("text", ["{nonsense", "7", '{"predictor": "main"}'])
def test_request_that_cannot_be_read_takes_nobodys_place(text):
    ours = RollbackRequest("main", "v1-00000000", "ann", "t1")
    assert rollback._other_request({"metadata": {"annotations": {ROLLBACK: text}}}, ours, {}) is None


async def test_two_who_go_back_to_the_same_at_once_both_succeed(platform):
    await at_version_2(platform)
    await platform.stop()
    both = [asyncio.create_task(go_back(platform, who=who)) for who in ("ann", "bob")]
    await until_asked(platform)
    await platform.restart()
    assert {done.plan.target.name for done in await asyncio.gather(*both)} == {await selected(platform)}
    assert platform.registry.aliases == {"champion": "1"}
