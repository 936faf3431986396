"""Predictors that follow an alias, against the real API of one machine; the test plays the runner."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from slipway.contract.annotations import ROLLBACK
from slipway.contract.following import RollbackRequest
from slipway.contract.names import REVISION
from slipway.kube.errors import Invalid
from slipway.kube.kinds import DEPLOYMENT, POD, SELDON_DEPLOYMENT, SERVICE
from slipway.registry import move_alias
from tests.contract.manifests import Manifest, component, node, predictor, sdep
from tests.controller.conftest import NAMESPACE, Platform
from tests.waiting import eventually

ALIAS = node(modelUri="models:/shapes@champion")
FOLLOW = {"slipway.dev/follow-alias": "true"}
SOON_S = 6.0
"""Less than one question to a silent registry takes."""


def follower(*, keep: str = "1h", **fields: Any) -> Manifest:
    annotations = {**FOLLOW, "slipway.dev/keep-previous": keep}
    return sdep(predictor(graph=ALIAS, **fields), annotations=annotations)


async def deployment_of(platform: Platform, version: str) -> str:
    """The name of the Deployment that runs ``version``, when it is there."""

    async def there() -> str | None:
        names = await platform.names(DEPLOYMENT)
        return next((name for name in names if f"-v{version}-" in name), None)

    return await eventually(there, what=f"a Deployment of version {version}")


async def serve(platform: Platform, version: str) -> dict[str, Any]:
    """The Pods of ``version`` are ready; the status when it serves."""
    await platform.make_ready(await deployment_of(platform, version))
    return await until_serving(platform, version)


async def until_serving(platform: Platform, version: str) -> dict[str, Any]:
    return await platform.until(lambda status: serving(status).startswith(f"v{version}-"), what=f"v{version} serves")


def serving(status: dict[str, Any]) -> str:
    return str((status.get("following") or [{}])[0].get("serving", ""))


def followed_condition(status: dict[str, Any]) -> tuple[str, str]:
    (found,) = [item for item in status["conditions"] if item["type"] == "AliasFollowed"]
    return found["status"], found.get("reason", "")


async def selected(platform: Platform, name: str = "iris-main") -> str:
    service = await platform.kube.get(SERVICE, name, namespace=NAMESPACE)
    return str(service["spec"]["selector"].get(REVISION, ""))


async def roll_back(platform: Platform, to: str, *, at: str = "t1") -> None:
    request = RollbackRequest("main", to, "ann", at, why="too many boxes")
    body = {"metadata": {"annotations": {ROLLBACK: request.render()}}}
    await platform.kube.patch(SELDON_DEPLOYMENT, "iris", body, type="merge", namespace=NAMESPACE)


async def test_moved_alias_starts_beside_what_serves_and_takes_over_when_ready(platform):
    await platform.apply(follower())
    first = await serve(platform, "1")
    assert followed_condition(first) == ("True", "UpToDate")
    async with aiohttp.ClientSession() as session:
        await move_alias(
            "shapes", "champion", "2", who="ann", why="mAP 0.91", registry=platform.address, session=session
        )
    second = await deployment_of(platform, "2")
    status = await platform.until(lambda status: status["following"][0].get("plan"), what="the plan")
    digests = [f"sha256:{version * 12}" for version in "12"]
    assert status["following"][0]["plan"] == (
        f"main: clf: models:/shapes@champion version 1 {digests[0]} → version 2 {digests[1]}"
    )
    assert (status["state"], followed_condition(status)) == ("Available", ("False", "Starting"))
    assert (await selected(platform)).startswith("v1-")
    assert status["models"][0]["version"] == "1", "what serves"
    await platform.make_ready(second)
    status = await until_serving(platform, "2")
    assert (await selected(platform), await selected(platform, "iris-main-clf")) == (serving(status),) * 2
    assert status["models"][0]["version"] == "2"
    assert len(await platform.names(DEPLOYMENT)) == 2, "the old one stays"
    (entry,) = status["history"]
    assert (entry["who"], entry["why"], entry["how"]) == ("ann", "mAP 0.91", "alias")
    assert entry["servedAt"] >= entry["at"]
    (change,) = entry["changes"]
    assert change == {
        "node": "clf",
        "uri": "models:/shapes@champion",
        "from": {"version": "1", "digest": f"sha256:{'1' * 64}"},
        "to": {"version": "2", "digest": f"sha256:{'2' * 64}"},
    }
    event = await platform.event("AliasMoved")
    assert event is not None
    assert event["message"].endswith("by ann: mAP 0.91")


async def test_move_past_us_is_recorded_as_such(platform):
    await platform.apply(follower())
    await serve(platform, "1")
    platform.registry.aliases["champion"] = "2"
    status = await serve(platform, "2")
    assert status["history"][0]["who"] == "unknown"
    event = await platform.event("AliasMoved")
    assert event is not None
    assert "does not record by whom" in event["message"]


async def test_version_that_never_becomes_ready_never_serves(platform):
    await platform.apply(follower())
    await serve(platform, "1")
    platform.registry.aliases["champion"] = "3"
    name = await deployment_of(platform, "3")
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off"}
    last = {"terminated": {"message": "WeightsError: expected 10 bytes, found 9"}}
    container = {"name": "clf", "image": "x:1"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "iris-3",
            "namespace": NAMESPACE,
            "labels": (await platform.kube.get(DEPLOYMENT, name, namespace=NAMESPACE))["spec"]["template"]["metadata"][
                "labels"
            ],
        },
        "spec": {"containers": [container]},
    }
    await platform.kube.create(pod)
    status = {
        "containerStatuses": [
            {
                "name": "clf",
                "image": "x:1",
                "imageID": "",
                "ready": False,
                "restartCount": 1,
                "state": {"waiting": waiting},
                "lastState": last,
            }
        ]
    }
    await platform.kube.patch(
        POD, "iris-3", {"status": status}, type="merge", namespace=NAMESPACE, subresource="status"
    )
    found = await platform.until(lambda status: status["following"][0].get("reason"), what="the reason")
    assert (found["state"], found["predictors"][0]["ready"]) == ("Available", True)
    assert followed_condition(found) == ("False", "RevisionNotReady")
    assert "expected 10 bytes" in found["following"][0]["lastError"]
    assert (await selected(platform)).startswith("v1-")
    event = await platform.event("RevisionNotReady")
    assert event is not None
    assert event["message"].endswith(f"{serving(found)} goes on serving")

    platform.registry.aliases["champion"] = "4"
    await deployment_of(platform, "4")

    async def gone() -> bool:
        return name not in await platform.names(DEPLOYMENT)

    await eventually(gone, what="the broken version's Deployment goes without waiting for anything")
    found = await serve(platform, "4")
    assert "reason" not in found["following"][0]


async def test_rollback_switches_at_once_and_is_not_undone_while_the_alias_stays(platform):
    await platform.apply(follower())
    first = serving(await serve(platform, "1"))
    platform.registry.aliases["champion"] = "2"
    await serve(platform, "2")
    platform.registry.is_away = True
    await roll_back(platform, first)
    status = await until_serving(platform, "1")
    assert (status["history"][-1]["how"], status["history"][-1]["who"]) == ("rollback", "ann")
    assert status["following"][0]["rejected"] == {"clf": "2"}
    platform.registry.is_away = False
    status = await platform.until(lambda s: followed_condition(s) == ("False", "RolledBack"), what="RolledBack")
    await platform.restart()
    looks = platform.registry.looks
    await eventually(lambda: platform.registry.looks > looks + 3, what="looks after a restart")
    assert (await selected(platform)) == first
    platform.registry.aliases["champion"] = "1"
    status = await platform.until(lambda s: followed_condition(s) == ("True", "UpToDate"), what="the alias is back")
    assert serving(status) == first
    assert [entry["how"] for entry in status["history"]] == ["alias", "rollback"]
    platform.registry.aliases["champion"] = "2"
    await until_serving(platform, "2")


async def test_rejected_version_that_is_promoted_again_serves(platform):
    await platform.apply(follower())
    first = serving(await serve(platform, "1"))
    async with aiohttp.ClientSession() as session:
        place = {"registry": platform.address, "session": session}
        await move_alias("shapes", "champion", "2", who="ann", **place)
        await serve(platform, "2")
        await roll_back(platform, first)
        await until_serving(platform, "1")
        await move_alias("shapes", "champion", "2", who="bob", why="it was the photos", **place)
    status = await until_serving(platform, "2")
    assert (status["history"][-1]["who"], status["history"][-1]["why"]) == ("bob", "it was the photos")


async def at_version_2(platform: Platform) -> str:
    """The name of the revision before."""
    await platform.apply(follower())
    first = serving(await serve(platform, "1"))
    platform.registry.aliases["champion"] = "2"
    await serve(platform, "2")
    return first


def with_canary(uri: str) -> Manifest:
    stable, canary = predictor("main", graph=ALIAS, traffic=90), predictor("new", graph=node(modelUri=uri), traffic=10)
    return sdep(stable, canary, annotations=FOLLOW)


@pytest.mark.parametrize("uri", ["models:/shapes@nowhere", "models:/shapes@champion"])
@pytest.mark.parametrize("trouble", ["is_away", "hangs"])
async def test_rollback_waits_for_no_version_of_another_predictor(platform, uri, trouble):
    first = await at_version_2(platform)
    asked = len(platform.registry.asked)
    setattr(platform.registry, trouble, True)
    await platform.apply(with_canary(uri))
    await eventually(lambda: len(platform.registry.asked) > asked, what="the canary's version is asked for")
    await roll_back(platform, first)

    async def carried_out() -> dict[str, Any] | None:
        found = await platform.kube.get(SELDON_DEPLOYMENT, "iris", namespace=NAMESPACE)
        state = found["status"]["following"][0]
        return found["status"] if (state.get("handled"), state["serving"]) == ("t1", first) else None

    status = await eventually(carried_out, what="the rollback is carried out", timeout_s=SOON_S)
    assert await selected(platform) == first
    assert status["history"][-1]["how"] == "rollback"
    setattr(platform.registry, trouble, False)
    platform.registry.released.set()


async def test_rollback_waits_for_no_version_that_the_alias_moved_to(platform):
    first = await at_version_2(platform)
    asked = len(platform.registry.asked)
    platform.registry.hangs = True
    platform.registry.aliases["champion"] = "3"
    await eventually(lambda: len(platform.registry.asked) > asked, what="version 3 is asked for")
    await roll_back(platform, first)

    async def switched() -> bool:
        return await selected(platform) == first

    await eventually(switched, what="the version before is selected", timeout_s=SOON_S)


async def test_rollback_to_what_is_not_there_is_refused_once(platform):
    await platform.apply(follower())
    await serve(platform, "1")
    await roll_back(platform, "v9-00000000")

    async def refused() -> dict[str, Any] | None:
        return await platform.event("RollbackRefused")

    event = await eventually(refused, what="RollbackRefused")
    assert "has no revision v9-00000000" in event["message"]
    assert serving(await platform.status()).startswith("v1-")


async def test_registry_that_is_away_is_said_once(platform):
    await platform.apply(follower())
    await serve(platform, "1")
    platform.registry.is_away = True
    status = await platform.until(lambda s: followed_condition(s) == ("False", "RegistryAway"), what="RegistryAway")
    assert (status["state"], serving(status)[:3]) == ("Available", "v1-")
    looks = platform.registry.looks
    await eventually(lambda: platform.registry.looks > looks + 3, what="more looks")
    assert (await platform.events())["RegistryAway"] == 1
    platform.registry.is_away = False
    platform.registry.aliases["champion"] = "2"
    await serve(platform, "2")
    events = await platform.events()
    assert (events["RegistryAway"], events["RegistryBack"]) == (1, 1)


async def test_one_look_serves_every_follower_of_a_model(platform):
    for name in ("iris", "rose"):
        manifest = follower()
        await platform.apply({**manifest, "metadata": {**manifest["metadata"], "name": name}})
    await serve(platform, "1")
    before = len(platform.registry.asked)
    looks = platform.registry.looks
    await eventually(lambda: platform.registry.looks >= looks + 4, what="looks")
    assert len(platform.registry.asked) == before, "a look that finds nothing asks nothing else"


async def test_previous_version_goes_when_its_time_is_over(platform):
    await platform.apply(follower(keep="0s"))
    await serve(platform, "1")
    platform.registry.aliases["champion"] = "2"
    await serve(platform, "2")

    async def alone() -> bool:
        return len(await platform.names(DEPLOYMENT)) == 1

    await eventually(alone, what="only the new one")


async def test_nodes_of_a_revision_on_different_pods_find_each_other(platform):
    graph = node("front", type="TRANSFORMER", children=[ALIAS])
    parts = [component("front"), component("clf")]
    await platform.apply(sdep(predictor(graph=graph, componentSpecs=parts), annotations=dict(FOLLOW)))
    services = await eventually(lambda: revision_services(platform), what="a Service of the revision")
    (name,) = services
    deployment = await deployment_of(platform, "1")
    assert name.startswith("iris-main-clf-v1-")
    assert deployment.endswith(name.removeprefix("iris-main-clf"))


async def revision_services(platform: Platform) -> list[str]:
    return [name for name in await platform.names(SERVICE) if "-v1-" in name]


async def test_following_is_turned_on_and_off_without_a_gap(platform):
    await platform.apply(sdep(predictor(graph=ALIAS)))
    await platform.make_ready(await eventually(lambda: only(platform), what="a Deployment"))
    await platform.until(lambda status: status["state"] == "Available", what="Available")
    await platform.apply(follower())
    await deployment_of(platform, "1")
    assert await selected(platform) == "", "the new Pods are not ready"
    await serve(platform, "1")
    platform.registry.aliases["champion"] = "2"
    await serve(platform, "2")
    await platform.apply(sdep(predictor(graph=ALIAS)))
    assert (await selected(platform)).startswith("v2-")
    await eventually(lambda: has(platform, "iris-main-0-clf"), what="the plain Deployment")

    async def one_warm_less() -> bool:
        return not [name for name in await platform.names(DEPLOYMENT) if "-v1-" in name]

    await eventually(one_warm_less, what="the warm version goes first: nothing would keep it from requests")
    assert (await selected(platform)).startswith("v2-")
    await platform.make_ready("iris-main-0-clf")

    async def plain() -> bool:
        return await selected(platform) == "" and await platform.names(DEPLOYMENT) == ["iris-main-0-clf"]

    await eventually(plain, what="only the plain Deployment")
    status = await platform.status()
    assert ("following" in status, status["models"][0]["version"]) == (False, "2")


async def test_edited_graph_of_a_follower_takes_over_when_ready(platform):
    await platform.apply(follower())
    first = serving(await serve(platform, "1"))
    old = await deployment_of(platform, "1")
    annotations = {**FOLLOW, "slipway.dev/keep-previous": "1h"}
    graph = node("renamed", modelUri="models:/shapes@champion")
    await platform.apply(sdep(predictor(graph=graph), annotations=annotations))
    new = await eventually(lambda: named(platform, "renamed"), what="the Deployment of the new graph")
    assert await selected(platform) == first
    assert await has(platform, old)
    await platform.make_ready(new)

    async def taken_over() -> bool:
        return await selected(platform) != first and await platform.names(DEPLOYMENT) == [new]

    await eventually(taken_over, what="only the new graph")


async def named(platform: Platform, part: str) -> str | None:
    return next((name for name in await platform.names(DEPLOYMENT) if part in name), None)


async def only(platform: Platform) -> str | None:
    names = await platform.names(DEPLOYMENT)
    return names[0] if len(names) == 1 else None


async def has(platform: Platform, name: str) -> bool:
    return name in await platform.names(DEPLOYMENT)


async def test_lost_service_selects_what_served(platform):
    await platform.apply(follower())
    first = serving(await serve(platform, "1"))
    platform.registry.aliases["champion"] = "2"
    await deployment_of(platform, "2")
    await platform.kube.delete(SERVICE, "iris-main", namespace=NAMESPACE)

    async def back() -> bool:
        return "iris-main" in await platform.names(SERVICE) and await selected(platform) == first

    await eventually(back, what="the Service selects version 1")


@pytest.mark.parametrize("text", ["{", '{"predictor": "main"}', "[]"])
async def test_unreadable_rollback_is_refused_by_the_api(platform, text):
    await platform.apply(follower())
    body = {"metadata": {"annotations": {ROLLBACK: text}}}
    with pytest.raises(Invalid, match="slipway.dev/rollback"):
        await platform.kube.patch(SELDON_DEPLOYMENT, "iris", body, type="merge", namespace=NAMESPACE)
