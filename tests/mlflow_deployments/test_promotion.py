"""A followed alias there and back, with the real API and the controller; the test plays the runner."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from mlflow.exceptions import MlflowException

from slipway.kube.errors import Conflict
from slipway.mlflow_deployments import plugin, release
from slipway.mlflow_deployments.errors import as_mlflow_errors
from slipway.mlflow_deployments.plugin import SlipwayDeploymentClient
from slipway.mlflow_deployments.release import Promotion, move_followed_alias, roll_deployment_back
from slipway.mlflow_deployments.settings import DeploySettings
from tests.contract.manifests import node, predictor, sdep
from tests.controller.conftest import NAMESPACE, Platform
from tests.controller.test_follow import ALIAS, FOLLOW, follower, selected, serve

TO_2 = Promotion("main", "shapes", "champion", "2")


@pytest.fixture(autouse=True)
def ann(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does it, and which registry MLflow is set to."""
    monkeypatch.setenv("JUPYTERHUB_USER", "ann")
    monkeypatch.setattr(release, "registry_address", lambda: platform.address)


async def promote(
    platform: Platform,
    lines: list[str],
    *,
    promotion: Promotion = TO_2,
    timeout_s: float = 30,
    why: str = "finds more",
) -> None:
    settings = DeploySettings(promote=True, why=why, timeout_s=timeout_s)
    with as_mlflow_errors("iris"):
        await move_followed_alias(
            platform.kube, "iris", promotion, namespace=NAMESPACE, settings=settings, progress=lines.append
        )


async def roll_back(platform: Platform, lines: list[str]) -> None:
    settings = DeploySettings(rollback=True, why="too many boxes")
    with as_mlflow_errors("iris"):
        await roll_deployment_back(platform.kube, "iris", namespace=NAMESPACE, settings=settings, progress=lines.append)


async def test_promotion_returns_once_the_version_serves_and_rollback_once_the_old_one_does(platform):
    await platform.apply(follower())
    await serve(platform, "1")
    lines: list[str] = []
    promoting = asyncio.create_task(promote(platform, lines))
    await serve(platform, "2")
    await promoting
    assert lines == ["models:/shapes@champion: version 1 → 2", "iris: main serves version 2"]
    record = json.loads(platform.registry.tags["slipway.alias.champion"])
    assert (record["version"], record["who"], record["why"]) == ("2", "ann", "finds more")
    lines.clear()
    await roll_back(platform, lines)
    assert (await selected(platform)).startswith("v1-")
    assert platform.registry.aliases == {"champion": "1"}
    assert "version 2 sha256:222222222222 → version 1 sha256:111111111111 (warm)" in lines[0]
    assert lines[1].startswith("iris: the version before serves after 0.")
    record = json.loads(platform.registry.tags["slipway.alias.champion"])
    assert (record["version"], record["who"], record["why"]) == ("1", "ann", "too many boxes")


async def test_promotion_does_not_undo_what_somebody_else_promoted_meanwhile(platform):
    await platform.apply(follower())
    await serve(platform, "1")
    platform.registry.aliases["champion"] = "3"
    with pytest.raises(MlflowException, match="iris: .* it names version 3: look at that version") as refused:
        await promote(platform, [], promotion=replace(TO_2, only_from=("1", "2")))
    assert refused.value.error_code == "RESOURCE_CONFLICT"
    assert platform.registry.aliases == {"champion": "3"}


async def test_promotion_to_what_does_not_start_says_what_to_do(platform):
    await platform.apply(follower())
    await serve(platform, "1")
    with pytest.raises(MlflowException, match="main does not serve version 2 after 0.5 s.*-C rollback=true") as late:
        await promote(platform, [], timeout_s=0.5)
    assert late.value.error_code == "DEADLINE_EXCEEDED"
    await platform.until(
        lambda status: status["following"][0]["wanted"]["name"].startswith("v2-"), what="the move is seen"
    )
    await roll_back(platform, [])
    assert platform.registry.aliases == {"champion": "1"}


async def test_rollback_whose_alias_could_not_be_moved_back_says_so(platform):
    await platform.apply(follower())
    await serve(platform, "1")
    platform.registry.aliases["champion"] = "2"
    await serve(platform, "2")
    platform.registry.is_away = True
    lines: list[str] = []
    with pytest.raises(MlflowException, match="not moved back.*slipway model promote shapes 1") as half:
        await roll_back(platform, lines)
    assert half.value.error_code == "TEMPORARILY_UNAVAILABLE"
    assert (await selected(platform)).startswith("v1-")
    assert "serves after" in lines[-1]


async def test_what_follows_nothing_is_not_rolled_back(platform):
    await platform.apply(sdep())
    with pytest.raises(MlflowException, match="no predictor follows an alias") as refused:
        await roll_back(platform, [])
    assert refused.value.error_code == "INVALID_STATE"


async def test_reason_that_is_too_long_moves_nothing(platform):
    await platform.apply(follower())
    await serve(platform, "1")
    with pytest.raises(MlflowException, match="why has 1001 characters") as refused:
        await promote(platform, [], why="a" * 1001)
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    assert platform.registry.aliases == {"champion": "1"}


@pytest.mark.parametrize(
    ("uri", "config", "said"),
    [
        (None, {"why": "because"}, "-C why is recorded with -C promote=true or -C rollback=true"),
        (None, {"promote": True, "rollback": True}, "-C promote=true goes alone"),
        (None, {"rollback": True, "wait": False}, "-C rollback=true goes alone"),
        (None, {"rollback": True, "traffic": 10}, "-C rollback=true goes alone"),
        ("models:/shapes/1", {"promote": True}, "-C promote=true goes alone"),
    ],
)
def test_what_cannot_go_together_is_refused_before_anything_is_asked(uri, config, said):
    with pytest.raises(MlflowException, match=said) as refused:
        SlipwayDeploymentClient("slipway:/nowhere").update_deployment("iris", uri, config=config)
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


async def test_promotion_that_could_not_remove_the_canary_moves_no_alias(platform):
    stable = predictor("main", graph=ALIAS, traffic=90)
    canary = predictor("canary", graph=node(modelUri="models:/shapes/2"), traffic=10)
    await platform.apply(sdep(stable, canary, annotations=FOLLOW))
    await platform.until(lambda status: len(status["models"]) == 2, what="both versions are known")
    with pytest.raises(Conflict, match="person"):
        await plugin._promote(platform.kube, "iris", DeploySettings(promote=True, namespace=NAMESPACE))
    assert (platform.registry.aliases, platform.registry.tags) == ({"champion": "1"}, {})


async def test_deleting_a_name_that_is_not_there_says_so_and_is_no_error(platform, capsys):
    await platform.apply(follower())
    settings = DeploySettings(namespace=NAMESPACE)
    await plugin._delete(platform.kube, "iris", settings)
    assert capsys.readouterr().out == ""
    await plugin._delete(platform.kube, "nobody", settings)
    assert capsys.readouterr().out == f"nobody: was not there, in namespace {NAMESPACE}\n"


def test_progress_cannot_drive_a_terminal(capsys):
    plugin._say("iris: \x1b[2Jstarting")
    assert capsys.readouterr().out == "iris:  [2Jstarting\n"
