"""Going back, with the real API and the controller; the test plays the runner."""

from __future__ import annotations

import aiohttp
import pytest

from slipway.kube.kinds import SELDON_DEPLOYMENT
from slipway.registry import InvalidMove, RegistryAddress
from slipway.release import RollbackRefused, RollbackTimeout, RolledBack, roll_back, rollback
from tests.contract.manifests import sdep
from tests.controller.conftest import NAMESPACE, Platform
from tests.controller.test_follow import follower, selected, serve


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
