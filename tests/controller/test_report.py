"""Statuses and Events against the real API: nothing is overwritten unheard, nothing is said twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from slipway.controller.reconcile import Reconciler
from slipway.controller.report import Reports
from slipway.controller.view import View
from slipway.kube.errors import Conflict
from slipway.kube.kinds import SELDON_DEPLOYMENT, Kind
from tests.contract.manifests import node, predictor, sdep
from tests.controller.conftest import NAMESPACE, Platform
from tests.controller.test_reconcile import ALIAS, IRIS, available
from tests.waiting import eventually

Object = dict[str, Any]


@dataclass
class Seen:
    """A reflector that has seen nothing yet."""

    found: dict[tuple[str, str], Object] = field(default_factory=dict)

    def objects(self, kind: Kind) -> dict[tuple[str, str], Object]:
        assert kind == SELDON_DEPLOYMENT
        return self.found


async def stored(platform: Platform) -> Object:
    return await platform.kube.get(SELDON_DEPLOYMENT, "iris", namespace=NAMESPACE)


async def messages(platform: Platform, reason: str) -> list[str]:
    event = await platform.event(reason)
    return [event["message"]] * event["count"] if event else []


async def test_status_made_of_an_older_object_is_refused_and_nothing_is_written(platform):
    await platform.apply(sdep())
    await available(platform, IRIS)
    await platform.stop()
    reports = Reports(platform.kube, View(Seen()))  # type: ignore[arg-type]
    old = await stored(platform)
    await platform.apply(sdep(predictor(replicas=2)))
    with pytest.raises(Conflict):
        await reports.write(old, {**old["status"], "state": "Failed", "description": "stale"}, reason="Updated")
    assert (await stored(platform))["status"] == old["status"]
    assert await platform.event("Updated")
    assert "stale" not in await messages(platform, "Updated")
    fresh = await stored(platform)
    await reports.write(fresh, {**old["status"], "state": "Failed", "description": "known"}, reason="Updated")
    assert (await stored(platform))["status"]["description"] == "known"


async def test_status_that_another_writes_is_put_right_and_told(platform):
    await platform.apply(sdep())
    await available(platform, IRIS)
    before = (await stored(platform))["status"]
    assert await platform.event("StatusOverwritten") is None
    body = {"status": {"state": "Creating"}}
    await platform.kube.patch(SELDON_DEPLOYMENT, "iris", body, type="merge", namespace=NAMESPACE, subresource="status")
    await platform.until(lambda status: status["state"] == "Available", what="Available again")
    event = await eventually(lambda: platform.event("StatusOverwritten"), what="the event")
    assert (event["type"], event["involvedObject"]["name"]) == ("Warning", "iris")
    assert (await stored(platform))["status"] == before


async def test_state_is_told_when_it_changes_and_not_of_a_new_one(platform):
    await platform.apply(sdep())
    await platform.until(lambda status: status["state"] == "Creating", what="Creating")
    assert await platform.event("Updated") is None
    await available(platform, IRIS)
    await eventually(lambda: platform.event("Updated"), what="the event, which is written after the status")
    assert await messages(platform, "Updated") == ["Creating → Available"]


@pytest.mark.parametrize(
    "graph", [node(), ALIAS, node(modelUri="s3://bucket/m")], ids=["plain", "alias", "initializer"]
)
async def test_look_at_what_is_as_it_should_be_writes_nothing(platform, monkeypatch, graph):
    await platform.apply(sdep(predictor(graph=graph), predictor("dark", shadow=True)))
    await available(platform, IRIS, "iris-dark-0-clf")
    await eventually(lambda: platform.event("Updated"), what="all is said")
    await platform.stop()
    before, writes, looks = await stored(platform), [], []
    request, look = platform.kube.request, Reconciler.__call__

    async def counted(method: str, *words: Any, **options: Any) -> Any:
        if method != "GET":
            writes.append((method, *words))
        return await request(method, *words, **options)

    async def noted(self: Reconciler, key: tuple[str, str]) -> float | None:
        again_s = await look(self, key)
        looks.append(key)
        return again_s

    monkeypatch.setattr(platform.kube, "request", counted)
    monkeypatch.setattr(Reconciler, "__call__", noted)
    for count in (1, 2):  # a new process knows nothing, and looks at all there is
        await platform.restart()
        await eventually(lambda count=count: len(looks) >= count, what="a look")
    await platform.stop()
    assert writes == []
    assert await stored(platform) == before
