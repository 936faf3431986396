"""An alias is followed, the version before stays warm, and going back is a switch: on the real platform, under load."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slipway.onebox.services.credentials import load_model_credentials
from slipway.registry import Pointer, RegistryAddress, read_aliases, resolve
from slipway.registry.rest import ask
from tests.data import REPOSITORY
from tests.e2e import graphs
from tests.e2e.load import Load, Reply
from tests.e2e.platform import Platform
from tests.waiting import wait_until

MODEL = "lights"
NAME = "follower"
URL = f"/seldon/default/{NAME}/api/v1.0/predictions"
ROLLBACK_WITHIN_S = 2.0
"""The promise: from asking until a client has the first answer of the old version."""
START_WITHIN_S = 60.0
STEADY = 40


def registry(platform: Platform) -> RegistryAddress:
    address = RegistryAddress.from_env(load_model_credentials(platform.paths))
    assert address is not None
    return address


async def register(address: RegistryAddress) -> None:
    """``lights``: versions 1 and 2 are those of ``shapes``, version 3 has another digest than its files."""
    async with aiohttp.ClientSession() as session:

        async def write(path: str, **fields: Any) -> dict[str, Any]:
            return await ask(path, fields, registry=address, session=session, subject=MODEL, method="POST")

        await write("registered-models/create", name=MODEL)
        for source in ("1", "2", "1"):
            found = await resolve(f"models:/shapes/{source}", registry=address, session=session)
            made = await write("model-versions/create", name=MODEL, source=found.source)
            version = made["model_version"]["version"]
            digest = f"sha256:{'0' * 64}" if version == "3" else str(found.digest)
            await write("model-versions/set-tag", name=MODEL, version=version, key="slipway.digest", value=digest)


async def forget(address: RegistryAddress) -> None:
    async with aiohttp.ClientSession() as session:
        await ask(
            "registered-models/delete",
            {"name": MODEL},
            registry=address,
            session=session,
            subject=MODEL,
            method="DELETE",
        )


@pytest.fixture(scope="module")
def follower(platform: Platform) -> Iterator[Platform]:
    """A SeldonDeployment that follows ``live``, which names version 1, Available."""
    asyncio.run(register(registry(platform)))
    try:
        promote(platform, "1", why="the first")
        manifest = graphs.chain(NAME, f"models:/{MODEL}@live", size="192x192")
        manifest["spec"]["annotations"] = {"slipway.dev/follow-alias": "true"}
        platform.apply(manifest)
        platform.wait_available(NAME)
        yield platform
    finally:
        platform.up()  # a test stops the registry
        platform.slipway("delete", "sdep", NAME, "--ignore-not-found")
        asyncio.run(forget(registry(platform)))


def promote(platform: Platform, version: str, *, why: str = "") -> None:
    platform.slipway("model", "promote", MODEL, version, "--alias", "live", "--who", "ann", "--why", why)


def status(platform: Platform) -> dict[str, Any]:
    found: dict[str, Any] = platform.get("sdep", NAME)["status"]
    return found


def condition(platform: Platform) -> str:
    (found,) = [item for item in status(platform)["conditions"] if item["type"] == "AliasFollowed"]
    return str(found["reason"])


def asked_at(platform: Platform) -> float:
    """When the last rollback was asked for, on time.monotonic."""
    at = datetime.fromisoformat(status(platform)["following"][0]["handled"])
    return time.monotonic() - (datetime.now(UTC) - at).total_seconds()


def version_of(reply: Reply) -> str:
    """``lights/2 sha256:…`` → 2."""
    return reply.model.partition(" ")[0].rpartition("/")[2]


def wait_version(load: Load, version: str, *, timeout_s: float = START_WITHIN_S) -> None:
    wait_until(
        lambda: bool(load.replies) and version_of(load.replies[-1]) == version,
        timeout_s=timeout_s,
        what=f"answers of version {version}",
    )


def test_moved_alias_takes_over_and_rolls_back_without_losing_a_request(
    follower: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    with Load(f"http://{follower.gateway}{URL}") as load:
        wait_version(load, "1")
        moved = time.monotonic()
        promote(follower, "2", why="mAP 0.91")
        wait_version(load, "2")
        took_over_s = time.monotonic() - moved
        load.wait_replies(STEADY)
        wait_until(lambda: condition(follower) == "UpToDate", what="UpToDate")
        (entry,) = status(follower)["history"]
        assert (entry["who"], entry["why"], entry["how"]) == ("ann", "mAP 0.91", "alias")
        (change,) = entry["changes"]
        assert (change["from"]["version"], change["to"]["version"]) == ("1", "2")
        assert change["to"]["digest"] == status(follower)["models"][0]["digest"]
        typed = time.monotonic()
        said = json.loads(follower.slipway("rollback", NAME, "--why", "too many boxes", "--json"))
        wait_version(load, "1", timeout_s=10)
        load.wait_replies(STEADY)
    first = min(reply.done for reply in load.replies if reply.sent > typed and version_of(reply) == "1")
    answered_s = first - asked_at(follower)
    with capsys.disabled():
        print(
            f"\nalias moved → served after {took_over_s:.1f} s; rollback: switched after {said['switchedAfterS']} s, "
            f"first answer of the old version after {answered_s:.2f} s, {first - typed:.2f} s after the command was typed; "
            f"{len(load.replies)} requests, {len(load.failures())} lost"
        )
    assert load.failures() == []
    assert said["switchedAfterS"] < ROLLBACK_WITHIN_S
    assert answered_s < ROLLBACK_WITHIN_S
    assert said["moves"] == [{"name": MODEL, "alias": "live", "version": "1"}]
    wait_until(lambda: condition(follower) == "UpToDate", what="the alias is back")
    described = follower.slipway("describe", "sdep", NAME)
    assert "too many boxes" in described
    assert "; by ann: mAP 0.91" in described


def test_version_that_does_not_load_never_answers(follower: Platform) -> None:
    with Load(f"http://{follower.gateway}{URL}") as load:
        wait_version(load, "1")
        promote(follower, "3", why="in a hurry")
        wait_until(lambda: condition(follower) == "RevisionNotReady", timeout_s=START_WITHIN_S, what="the reason")
        load.wait_replies(STEADY)
        found = status(follower)
        assert found["state"] == "Available"
        assert "refused: models:/lights/3" in found["following"][0]["lastError"]
        follower.slipway("rollback", NAME, "--why", "does not load")
        load.wait_replies(STEADY)
    assert load.failures() == []
    assert {version_of(reply) for reply in load.replies} == {"1"}

    def gone() -> bool:
        return not [
            pod for pod in follower.pods(selector=f"seldon-deployment-id={NAME}") if "-v3-" in pod["metadata"]["name"]
        ]

    wait_until(gone, timeout_s=START_WITHIN_S, what="the Pods of version 3 are gone")


def test_functions_of_the_document_promote_and_go_back(follower: Platform, tmp_path: Path) -> None:
    """The lines of docs/aliases.md as they are, but for the names."""
    lines = (REPOSITORY / "docs" / "aliases.md").read_text().partition("```python\n")[2].partition("```")[0]
    for said, here in (("shapes", MODEL), ("champion", "live"), ('"yolo"', f'"{NAME}"')):
        assert said in lines
        lines = lines.replace(said, here)
    (tmp_path / "document.py").write_text(lines)

    def call(function: str) -> str:
        code = f"import asyncio, document; print(asyncio.run(document.{function}()))"
        keys = load_model_credentials(follower.paths)
        return follower.run(sys.executable, "-c", code, **keys, PYTHONPATH=f"{tmp_path}:{REPOSITORY}")

    async def pointer() -> Pointer:
        async with aiohttp.ClientSession() as session:
            return (await read_aliases(MODEL, registry=registry(follower), session=session))["live"]

    with Load(f"http://{follower.gateway}{URL}") as load:
        wait_version(load, "1")
        assert f"AliasMove(name='{MODEL}', alias='live', version='2', before='1', who='ann'" in call("promote")
        wait_version(load, "2")
        assert asyncio.run(pointer()) == Pointer("2", "ann", "mAP 0.91", asyncio.run(pointer()).at)
        wait_until(lambda: condition(follower) == "UpToDate", what="UpToDate")
        assert "alias_error=''" in call("go_back")
        wait_version(load, "1", timeout_s=10)
    assert load.failures() == []
    found = asyncio.run(pointer())
    assert (found.version, found.who, found.why) == ("1", "ann", "too many boxes")
    wait_until(lambda: condition(follower) == "UpToDate", what="the alias is back")


def test_registry_that_is_away_stops_neither_serving_nor_going_back(follower: Platform) -> None:
    with Load(f"http://{follower.gateway}{URL}") as load:
        promote(follower, "2")
        wait_version(load, "2")
        follower.slipway("down", "mlflow")
        wait_until(lambda: condition(follower) == "RegistryAway", timeout_s=30, what="RegistryAway")
        said = follower.slipway("rollback", NAME, check=False)
        assert "serves after" in said
        assert f"`slipway model promote {MODEL} 1 --alias live`" in said
        wait_version(load, "1", timeout_s=10)
        follower.up()
        wait_until(lambda: condition(follower) == "RolledBack", timeout_s=30, what="RolledBack")
        load.wait_replies(STEADY)
        assert version_of(load.replies[-1]) == "1", "the alias still names version 2"
        promote(follower, "1")
        wait_until(lambda: condition(follower) == "UpToDate", timeout_s=30, what="UpToDate")
    assert load.failures() == []
    events = json.loads(follower.kubectl("get", "events", "-o", "json"))["items"]
    away = [
        item["count"] for item in events if item["reason"] == "RegistryAway" and item["involvedObject"]["name"] == NAME
    ]
    assert away == [1]
