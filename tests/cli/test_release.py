"""`slipway model promote` and `slipway rollback`, against the real API, the controller and a small registry."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from slipway.cli.main import main
from tests.contract.manifests import sdep
from tests.controller.conftest import NAMESPACE, TOKEN, Platform
from tests.controller.test_follow import follower, selected, serve

DONE, FAILED, WRONG_USE, NOT_READY = 0, 1, 2, 3


@pytest.fixture
def environment(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kubeconfig and a registry, as a notebook has them; no home of a platform."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": platform.kube.access.server}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", platform.address.uri)
    monkeypatch.setenv("JUPYTERHUB_USER", "ann")


async def slipway(*words: str) -> Result:
    """In a thread: the command has an event loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, main, words)


def said(result: Result, code: int = DONE) -> str:
    assert result.exit_code == code, result.output
    return result.stdout.rstrip() if code == DONE else result.stderr.strip()


@pytest.mark.usefixtures("environment")
async def test_promote_and_rollback_say_what_they_change_and_in_whose_name(platform: Platform) -> None:
    await platform.apply(follower())
    await serve(platform, "1")
    line = said(await slipway("model", "promote", "shapes", "2", "--why", "mAP 0.91"))
    assert line == "models:/shapes@champion  1 → 2  by ann: mAP 0.91"
    assert said(await slipway("model", "alias", "shapes", "next", "2")) == "models:/shapes@next  none → 2  by ann"
    await serve(platform, "2")
    plan, switched, moved = said(await slipway("rollback", "iris", "--why", "too many boxes")).splitlines()
    assert plan.startswith("main: clf: models:/shapes@champion version 2 sha256:222222222222 → version 1 sha256:1111")
    assert plan.endswith("(warm)")
    assert switched.startswith("main: v1-")
    assert moved == "models:/shapes@champion  2 → 1  by ann: too many boxes"
    status = await platform.until(lambda status: status["history"][-1]["how"] == "rollback", what="the history")
    assert [entry["who"] for entry in status["history"]] == ["ann", "ann"]
    assert "already: to serve that again" in said(await slipway("rollback", "iris"), FAILED)


@pytest.mark.usefixtures("environment")
async def test_rollback_without_the_registry_serves_and_fails_with_what_is_left_to_do(platform: Platform) -> None:
    await platform.apply(follower())
    await serve(platform, "1")
    platform.registry.aliases["champion"] = "2"
    await serve(platform, "2")
    platform.registry.is_away = True
    result = await slipway("rollback", "iris", "--json", "--who", "bob")
    assert result.exit_code == FAILED
    assert (await selected(platform)).startswith("v1-")
    found = json.loads(result.stdout)
    assert (found["versions"], found["moves"]) == ({"clf": "1"}, [])
    assert "run `slipway model promote shapes 1 --alias champion`" in found["aliasError"]
    assert found["aliasError"] in result.stderr
    assert "HTTP 503" in said(await slipway("model", "promote", "shapes", "1"), NOT_READY)


@pytest.mark.usefixtures("environment")
async def test_what_follows_nothing_is_refused_with_what_to_do_instead(platform: Platform) -> None:
    await platform.apply(sdep())
    line = said(await slipway("rollback", "iris"), FAILED)
    assert "iris: no predictor follows an alias: put the version" in line
    assert "not found" in said(await slipway("rollback", "none"), FAILED)


async def test_promote_without_a_registry_says_where_one_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert "`slipway up` starts one" in said(await slipway("model", "promote", "shapes", "2"), NOT_READY)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert "write models:/NAME@ALIAS or models:/NAME/VERSION" in said(
        await slipway("model", "promote", "shapes", "two"), WRONG_USE
    )
    assert "does not answer" in said(await slipway("model", "promote", "shapes", "2"), NOT_READY)
