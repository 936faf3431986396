"""The data scientist's first day: an empty home at the hub, the four notebooks, and what they claim, seen from outside."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from slipway.contract.following import Following
from slipway.drill.interval import binomial_bounds
from slipway.kube.client import Kube
from slipway.kube.kinds import SELDON_DEPLOYMENT
from slipway.onebox.services.credentials import load_model_credentials
from slipway.onebox.services.hub.accounts import kubeconfig_of
from slipway.registry import RegistryAddress, resolve
from slipway.registry.rest import ask
from tests.e2e import s3
from tests.e2e.hub import CellResult, Hub, HubSession
from tests.e2e.load import Load, Reply
from tests.e2e.platform import Platform
from tests.waiting import POLL_S, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
USER, NAMESPACE, MODEL, NAME = "bea", "user-bea", "shapes-bea", "yolo"
CELL_TIMEOUT_S = 600.0
ROLLBACK_WITHIN_S = 2.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bea(hub: Hub) -> AsyncIterator[HubSession]:
    """An ordinary user whose home is made when the server first starts."""
    assert not hub.platform.paths.hub_home(USER).exists()
    async with hub.user(USER) as session:
        yield session


@pytest.fixture(scope="module")
def keys(platform: Platform) -> Mapping[str, str]:
    return load_model_credentials(platform.paths)


@pytest_asyncio.fixture(loop_scope="module")
async def kube(platform: Platform) -> AsyncIterator[Kube]:
    async with Kube.from_kubeconfig(platform.paths.kubeconfig) as client:
        yield client


async def mlflow(keys: Mapping[str, str], path: str, *, post: bool = False, **query: Any) -> dict[str, Any]:
    address = RegistryAddress.from_env(keys)
    assert address is not None
    async with aiohttp.ClientSession() as session:
        method = "POST" if post else "GET"
        return await ask(path, query, registry=address, session=session, subject=path, method=method)


async def aliases(keys: Mapping[str, str]) -> dict[str, str]:
    model = (await mlflow(keys, "registered-models/get", name=MODEL))["registered_model"]
    return {one["alias"]: one["version"] for one in model["aliases"]}


async def run(bea: HubSession, name: str, *, pictures: int) -> str:
    """One notebook, in which so many cells draw something; everything that it printed."""
    results = await bea.run_notebook(f"notebooks/{name}", timeout_s=CELL_TIMEOUT_S)
    assert sum(map(shows_picture, results)) == pictures
    return "".join(result.text for result in results)


def shows_picture(result: CellResult) -> bool:
    return bool(result.images()) or any("<iframe" in one.get("text/html", "") for one in result.outputs)


async def test_home_begins_with_notebooks_and_training_and_nothing_else_of_anybody(bea: HubSession) -> None:
    status, text = await bea.api("GET", f"{bea.server}api/contents/", at=bea.server)
    assert status == 200
    assert sorted(one["name"] for one in json.loads(text)["content"]) == ["notebooks", "training"]


async def test_01_train_is_logged_with_its_curves(bea: HubSession, keys: Mapping[str, str]) -> None:
    await run(bea, "01-train.ipynb", pictures=3)
    found = await mlflow(keys, "experiments/get-by-name", experiment_name=MODEL)
    experiment = found["experiment"]["experiment_id"]
    (logged,) = (await mlflow(keys, "runs/search", post=True, experiment_ids=[experiment]))["runs"]
    assert logged["info"]["status"] == "FINISHED"
    epochs = int({one["key"]: one["value"] for one in logged["data"]["params"]}["epochs"])
    curves = {}
    for metric in ("loss", "map50"):
        history = await mlflow(keys, "metrics/get-history", run_id=logged["info"]["run_id"], metric_key=metric)
        curves[metric] = {one["step"]: one["value"] for one in history["metrics"]}
    assert list(curves["loss"]) == list(range(1, epochs + 1))
    assert curves["loss"][epochs] < curves["loss"][1] / 3
    assert list(curves["map50"])[-1] == epochs
    assert curves["map50"][epochs] > 0.3  # what version 1 of models/shapes has


async def test_02_register_leaves_two_proved_versions(bea: HubSession, keys: Mapping[str, str]) -> None:
    printed = await run(bea, "02-register.ipynb", pictures=2)
    assert "broken.weights: expected 1131052 bytes, found 500000" in printed
    assert await aliases(keys) == {"champion": "1", "challenger": "2"}
    versions = (await mlflow(keys, "model-versions/search", filter=f"name = '{MODEL}'"))["model_versions"]
    assert sorted(one["version"] for one in versions) == ["1", "2"]
    with closing(s3.client(keys)) as client:
        for one in versions:
            check_version(one, await location(keys, one["version"]), client)


async def location(keys: Mapping[str, str], version: str) -> str:
    address = RegistryAddress.from_env(keys)
    assert address is not None
    async with aiohttp.ClientSession() as session:
        return (await resolve(f"models:/{MODEL}/{version}", registry=address, session=session)).source


def check_version(version: dict[str, Any], source: str, client: Any) -> None:
    """Its report is in S3, and the tag is the digest of what lies there."""
    bucket, _, folder = source.removeprefix("s3://").partition("/")

    def read(name: str) -> bytes:
        content: bytes = client.get_object(Bucket=bucket, Key=f"{folder}/{name}")["Body"].read()
        return content

    tags = {one["key"]: one["value"] for one in version["tags"]}
    sums = read("SHA256SUMS")
    assert tags["slipway.digest"] == f"sha256:{hashlib.sha256(sums).hexdigest()}"
    report = read("proof/report.html")
    assert f"{hashlib.sha256(report).hexdigest()}  proof/report.html\n".encode() in sums
    assert b"proof passed" in report
    assert report.count(b'<img src="data:image/jpeg') == 4
    assert tags["proof.report"] == "proof/report.html"


async def test_03_deploy_serves_the_champion_in_the_users_namespace(
    bea: HubSession, platform: Platform, kube: Kube
) -> None:
    printed = await run(bea, "03-deploy.ipynb", pictures=3)
    assert "the same boxes: True" in printed
    assert 'cannot list resource "seldondeployments"' in printed
    assert 'in the namespace "slipway-system"' in printed
    found = await kube.get(SELDON_DEPLOYMENT, NAME, namespace=NAMESPACE)
    (stable,) = found["spec"]["predictors"]
    graph = stable["graph"]
    assert (graph["type"], graph["children"][0]["modelUri"]) == ("TRANSFORMER", f"models:/{MODEL}@champion")
    assert stable["annotations"] == {"slipway.dev/follow-alias": "true"}
    assert splits(found) == ({"stable": 100}, {"stable": 100.0})
    with Load(url(platform)) as load:
        load.wait_replies(20)
    assert load.failures() == []
    assert {version_of(reply) for reply in load.replies} == {"1"}


@pytest.mark.parametrize("namespace", ["default", "slipway-system", "user-eve"])
async def test_users_own_kubeconfig_is_refused_elsewhere(bea: HubSession, platform: Platform, namespace: str) -> None:
    own = str(kubeconfig_of(platform.paths.hub_home(bea.user)))
    for words in (("get", "sdep"), ("delete", "sdep", NAME), ("get", "pods")):
        refused = platform.kubectl(*words, "-n", namespace, "-v6", check=False, KUBECONFIG=own)
        assert "403 Forbidden" in refused, refused
    assert NAME in platform.kubectl("get", "sdep", KUBECONFIG=own)


def url(platform: Platform) -> str:
    return f"http://{platform.gateway}/seldon/{NAMESPACE}/{NAME}/api/v1.0/predictions"


def version_of(reply: Reply) -> str:
    """``shapes-bea/2 sha256:…`` → 2."""
    return reply.model.partition(" ")[0].rpartition("/")[2]


def splits(obj: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, float]]:
    """Declared and effective percentages."""
    traffic = obj["status"]["traffic"]
    return traffic["declared"], traffic["effective"]


@dataclass
class Watch:
    """Every split that the SeldonDeployment was seen with while it was Available, and since when (time.monotonic)."""

    kube: Kube
    seen: list[tuple[float, dict[str, int], dict[str, float]]] = field(default_factory=list)

    async def look(self) -> None:
        while True:
            found = await self.kube.get(SELDON_DEPLOYMENT, NAME, namespace=NAMESPACE)
            status = found["status"]
            is_current = status["observedGeneration"] == found["metadata"]["generation"]
            if is_current and status["state"] == "Available" and splits(found) != self.last:
                self.seen.append((time.monotonic(), *splits(found)))
            await asyncio.sleep(POLL_S)

    @property
    def last(self) -> tuple[dict[str, int], dict[str, float]] | None:
        return self.seen[-1][1:] if self.seen else None

    def span(self, canary: int) -> tuple[float, float]:
        """From when to when the canary's declared part was this many percent."""
        for (since, declared, _), (until, *_) in itertools.pairwise(self.seen):
            if declared.get("canary") == canary:
                return since, until
        raise AssertionError(f"no split of {canary} %: {self.seen}")


def check_share(replies: list[Reply], declared: int) -> None:
    count = sum(reply.predictor == "canary" for reply in replies)
    low, high = binomial_bounds(len(replies), declared / 100)
    assert len(replies) > 40
    assert low <= count <= high, f"{declared} %: {low} to {high} of {len(replies)}, {count} seen"


async def test_04_canary_moves_the_split_promotes_and_rolls_back(
    bea: HubSession, platform: Platform, kube: Kube, keys: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    watch = Watch(kube)
    looking = asyncio.create_task(watch.look())
    try:
        with Load(url(platform)) as load:
            printed = await run(bea, "04-canary.ipynb", pictures=5)
            last = len(load.replies)
            await eventually(lambda: len(load.replies) > last + 20, what="replies after the rollback")
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    assert load.failures() == []
    check_splits(watch, load)
    for declared, low, high, total, count in re.findall(
        r"(\d+) % declared: (\d+) to (\d+) of (\d+) .*, (\d+) seen", printed
    ):
        assert (int(low), int(high)) == binomial_bounds(int(total), int(declared) / 100)
        assert int(low) <= int(count) <= int(high)
    assert ", 0 lost\n" in printed
    told_s = re.search(r"version 1 answers again ([\d.]+) s after", printed)
    assert told_s is not None
    assert float(told_s[1]) < ROLLBACK_WITHIN_S
    found = await kube.get(SELDON_DEPLOYMENT, NAME, namespace=NAMESPACE)
    took_s = rollback_s(found, load)
    with capsys.disabled():
        print(
            f"\nrollback: the old version answered {took_s:.2f} s after it was asked for; {len(load.replies)} requests"
        )
    assert took_s < ROLLBACK_WITHIN_S
    check_history(found)
    assert await aliases(keys) == {"champion": "1", "challenger": "2"}


def check_splits(watch: Watch, load: Load) -> None:
    declared = [split for _, split, _ in watch.seen]
    steps = [{"stable": 100}, {"stable": 90, "canary": 10}, {"stable": 50, "canary": 50}, {"stable": 100}]
    assert [split for split, _ in itertools.groupby(declared)] == steps
    assert [effective for _, split, effective in watch.seen if effective != split] == []
    for percent in (10, 50):
        check_share(load.sent_between(*watch.span(percent)), percent)


def rollback_s(found: Mapping[str, Any], load: Load) -> float:
    """From asking until a client had the first answer of the old version."""
    (following,) = [Following.read(one) for one in found["status"]["following"]]
    asked = time.monotonic() - (datetime.now(UTC) - datetime.fromisoformat(following.handled)).total_seconds()
    return min(reply.done for reply in load.replies if reply.sent > asked and version_of(reply) == "1") - asked


def check_history(found: Mapping[str, Any]) -> None:
    """Who moved it, how and why, there and back."""
    history = found["status"]["history"]
    moves = {one["how"]: one for one in history if one["predictor"] == "stable"}
    assert {one["who"] for one in moves.values()} == {USER}
    assert re.fullmatch(r"\d+% right, the old one \d+%", moves["alias"]["why"])
    assert moves["rollback"]["why"] == "only to see how fast it is"
    (there,), (back,) = moves["alias"]["changes"], moves["rollback"]["changes"]
    assert (there["from"]["version"], there["to"]["version"]) == ("1", "2")
    assert (back["from"]["version"], back["to"]["version"]) == ("2", "1")
