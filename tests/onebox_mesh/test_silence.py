"""Envoys that run and say nothing, busy for a moment or stuck, and what was not taken: nobody's request may suffer."""

from __future__ import annotations

import json
import signal
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest

from slipway.onebox.mesh.admin import Admin
from slipway.onebox.mesh.layout import ENVOYS
from slipway.onebox.mesh.limits import SILENT_QUESTIONS
from slipway.onebox.mesh.render import render
from slipway.onebox.mesh.steps import ROUTES_STAT
from slipway.onebox.mesh.translate import translate
from tests.onebox_mesh.envoys import running_gateway
from tests.onebox_mesh.upstreams import running_upstreams
from tests.onebox_mesh.world import virtual_service, world
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"


class World:
    """Two Envoys, predictors ``old`` and ``new``, and a client that asks."""

    def __init__(self, upstreams, client):
        self.upstreams, self.client, self.gateway = upstreams, client, None

    def objects(self, name):
        found = {name: self.upstreams.predictors()[name]}
        return world([virtual_service({name: 100})], found, ports=self.upstreams.ports)

    def resources(self, name):
        return render(translate(self.objects(name), self.gateway.site), self.gateway.layout)

    def broken(self, name):
        wanted = self.resources(name)
        return replace(wanted, routes={**wanted.routes, "virtual_hosts": [{"name": "no domains"}]})

    def clusters(self):
        return {one["name"] for one in json.loads(self.gateway.layout.clusters.read_text())["resources"]}

    def send(self, number):
        for process in self.gateway.processes:
            process.send_signal(number)

    async def answers(self):
        statuses = Counter()
        for _ in range(20):
            async with self.client.post(f"{self.gateway.url}{PREDICTIONS}", data=b"{}") as reply:
                statuses[reply.status, reply.headers.get("x-slipway-predictor")] += 1
        return statuses


@pytest.fixture
async def here(tmp_path):
    async with _running(tmp_path) as found:
        yield found


@asynccontextmanager
async def _running(tmp_path):
    async with running_upstreams(old=1, new=1) as upstreams, aiohttp.ClientSession() as client:
        found = World(upstreams, client)
        async with running_gateway(tmp_path, found.objects("old")) as found.gateway:
            try:
                yield found
            finally:
                found.send(signal.SIGCONT)


async def test_envoys_that_were_busy_for_a_moment_are_asked_again(here, monkeypatch, caplog):
    ask = Admin.versions

    async def versions(admin):
        try:
            return await ask(admin)
        except TimeoutError:
            here.send(signal.SIGCONT)
            raise

    monkeypatch.setattr(Admin, "versions", versions)
    monkeypatch.setattr("slipway.onebox.mesh.followers.SILENT_QUESTIONS", 100)
    here.send(signal.SIGSTOP)
    assert await here.gateway.publisher.publish(here.broken("old")) == {ROUTES_STAT}
    assert "says nothing" not in caplog.text


async def test_nobody_waits_twice_for_envoys_that_are_stuck(here, monkeypatch):
    ask, asked = Admin.versions, Counter()

    async def versions(admin):
        asked[admin.socket] += 1
        return await ask(admin)

    monkeypatch.setattr(Admin, "versions", versions)
    here.send(signal.SIGSTOP)
    publisher = here.gateway.publisher
    assert not await publisher.publish(here.broken("new"))
    for wanted in (here.resources("old"), here.broken("new")):
        assert not await publisher.publish(wanted)
    assert not await publisher.missing()
    assert list(asked.values()) == [SILENT_QUESTIONS] * len(ENVOYS)
    await publisher.listen()
    assert not await publisher.missing()
    here.send(signal.SIGCONT)

    async def is_told():
        await publisher.listen()
        return await publisher.missing() == {ROUTES_STAT}

    await eventually(is_told, what="an answer of Envoys that go on")


async def test_no_cluster_is_removed_while_it_is_unknown_what_an_envoy_has(here):
    publisher = here.gateway.publisher
    here.send(signal.SIGSTOP)
    assert not await publisher.publish(here.resources("new"))
    assert not publisher.is_routed
    assert here.clusters() == here.resources("old").clusters.keys() | here.resources("new").clusters.keys()
    here.send(signal.SIGCONT)
    assert {status for status, _ in await here.answers()} == {200}

    async def is_routed():
        await publisher.listen()
        return not await publisher.missing() and publisher.is_routed

    await eventually(is_routed, what="the new routes in both Envoys")
    assert not await publisher.publish(here.resources("new"))
    assert here.clusters() == here.resources("new").clusters.keys()
    assert await here.answers() == {(200, "new"): 20}


async def test_clusters_of_routes_in_use_stay_however_often_others_are_refused(here):
    publisher = here.gateway.publisher
    for missing in ({ROUTES_STAT}, frozenset()):  # nobody waits for it a second time
        assert await publisher.publish(here.broken("new")) == missing
        assert not publisher.is_routed
        assert await here.answers() == {(200, "old"): 20}
    assert not await publisher.publish(here.resources("new"))
    assert publisher.is_routed
    assert await here.answers() == {(200, "new"): 20}
    assert here.clusters() == here.resources("new").clusters.keys()
