"""What a drill waits for before it begins, and what it says where its platform does not do as told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from slipway.drill import site as module
from slipway.drill.errors import DrillError
from slipway.drill.site import Site
from slipway.drill.subject import CANARY, LIVE, Subject
from slipway.kube.client import Kube
from slipway.onebox.paths import Paths
from slipway.onebox.services.start import PlatformError
from tests.ports import free_ports

WELL = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "state": "Available"}}


class Fake:
    """An API that says Available, and predictors of which only some have their Pods."""

    def __init__(self) -> None:
        self.ready = {LIVE: 2}

    async def get(self, *_: Any, **_more: Any) -> dict[str, Any]:
        return WELL


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
async def site(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Its gateway answers as many requests with 404 as it takes until the route is known, then with 405."""
    answers = [404, 404, 405]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=answers.pop(0) if len(answers) > 1 else answers[0])

    async def has_ready(_: Site, replicas: int, predictor: str = LIVE) -> bool:
        return fake.ready.get(predictor) == replicas

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    monkeypatch.setattr(Site, "has_ready", has_ready)
    monkeypatch.setattr(module, "POLL_S", 0.0)
    async with TestServer(app) as server:
        monkeypatch.setattr(Site, "url", lambda *_: str(server.make_url("/predictions")))
        yield Site(cast("Kube", fake), Paths.from_env())


async def test_subject_is_well_when_every_predictor_has_its_pods(
    site: Site, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WELL_WITHIN_S", 0.0)
    await site.await_well(Subject())
    with pytest.raises(DrillError, match=f"2 Pods of {LIVE} and 1 Pods of {CANARY}: not within"):
        await site.await_well(Subject(canary=0))
    fake.ready[CANARY] = 1
    for subject in (Subject(canary=0), Subject(has_shadow=True)):
        await site.await_well(replace(subject, replicas=2))


async def test_route_is_known_once_a_pod_answers(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent before would be lost whatever a drill does, and a control would seem to show something."""
    found = [await site.is_routed(frozenset()) for _ in range(3)]
    assert found == [False, False, True]
    monkeypatch.setattr(Site, "url", lambda *_: f"http://127.0.0.1:{free_ports(1)[0]}/")
    assert not await site.is_routed(frozenset())


async def test_part_that_cannot_be_stopped_is_a_drill_that_cannot_be_held(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PlatformError("not stopped after 60 s")

    for name in ("_stop_part", "_start_part"):
        monkeypatch.setattr(Site, name, refuse)
    for change in (site.stop_part, site.start_part):
        with pytest.raises(DrillError, match="s3: not stopped after 60 s"):
            await change("s3")


async def test_executor_without_metrics_is_a_drill_that_cannot_be_held(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pods(*_: Any) -> list[dict[str, Any]]:
        return [{"status": {"podIP": "127.0.0.1"}}]

    monkeypatch.setattr(Site, "pods", pods)
    monkeypatch.setattr(module, "HTTP_PORT", free_ports(1)[0])
    with pytest.raises(DrillError, match="/prometheus: no metrics: "):
        await site.served_by(LIVE)
