from __future__ import annotations

import asyncio

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.kube.kinds import VIRTUAL_SERVICE
from slipway.onebox.mesh.admin import Admin
from slipway.onebox.mesh.layout import ENVOYS, Layout
from slipway.onebox.mesh.loop import site
from slipway.onebox.mesh.refusals import Refusals, find_refused
from slipway.onebox.paths import Paths
from tests.onebox_mesh.api import running_api
from tests.onebox_mesh.envoys import start_envoy
from tests.onebox_mesh.test_process import mesh_process
from tests.onebox_mesh.upstreams import running_upstreams
from tests.onebox_mesh.world import GATEWAY, destination, item, virtual_service, world
from tests.ports import free_port
from tests.waiting import eventually

PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"


def _headers(name, value):
    """A VirtualService that sets a response header; Envoy refuses one with a command that it does not know."""
    route = {
        "match": [{"uri": {"prefix": f"/{name}/"}}],
        "route": [{"destination": destination("stable", 8000)}],
        "headers": {"response": {"set": {"x-share": value}}},
    }
    return item("VirtualService", name, {"hosts": ["*"], "gateways": [GATEWAY], "http": [route]})


@given(st.lists(st.booleans(), max_size=40))
def test_find_refused_names_exactly_the_refused_ones(good):
    items = [{"index": index, "good": is_good} for index, is_good in enumerate(good)]

    async def check(some):
        return None if all(one["good"] for one in some) else "no"

    found = asyncio.run(find_refused(items, check))
    assert found == [(one, "no") for one in items if not one["good"]]


async def test_find_refused_asks_about_one_of_many_by_halves():
    asked = []

    async def check(some):
        asked.append(len(some))
        return "no" if 37 in some else None

    assert await find_refused(list(range(64)), check) == [(37, "no")]
    assert len(asked) == 13


async def test_refused_virtual_service_is_left_out_until_it_changes_and_keeps_its_last_good_version(tmp_path):
    layout = Layout(Paths(tmp_path))
    layout.paths.mesh.mkdir()
    refusals = Refusals(layout, site("127.0.0.1", free_port()))

    def objects(*virtual):
        return world(virtual, {"stable": {"127.20.0.1": True}})

    good, bad, fresh = _headers("a", "1"), _headers("a", "%NOBODY%"), _headers("b", "%ELSE%")
    refusals.accept(objects(good))
    assert await refusals.search(objects(bad, fresh))
    settled, findings = refusals.settle(objects(bad, fresh))
    assert settled.virtual_services == (good,)
    assert [finding.name for finding in findings] == ["a", "b"]
    assert findings[0].message.endswith("its last good routes stay in use")
    assert findings[1].message.endswith("it is not served")
    assert "NOBODY" in findings[0].message
    assert not await refusals.search(settled)
    assert refusals.settle(objects(good, fresh)) == (objects(good), findings[1:])


async def test_what_was_taken_while_no_envoy_ran_is_no_good_version(tmp_path):
    layout = Layout(Paths(tmp_path))
    layout.paths.mesh.mkdir()
    refusals = Refusals(layout, site("127.0.0.1", free_port()))
    objects = world([_headers("a", "%NOBODY%")], {"stable": {"127.20.0.1": True}})
    refusals.accept(objects)
    assert await refusals.search(objects)
    assert refusals.settle(objects)[0].virtual_services == ()


@pytest.mark.e2e
@pytest.mark.parametrize("is_bad_at_start", [False, True])
async def test_one_refused_virtual_service_does_not_hold_up_the_others(tmp_path, is_bad_at_start):
    layout, port = Layout(Paths(tmp_path)), free_port()
    bad, good = _headers("odd", "%NOBODY%"), _headers("odd", "100%%")
    async with running_upstreams(stable=1, canary=1) as upstreams:
        virtual = [virtual_service({"stable": 100, "canary": 0})]
        objects = world([*virtual, *([bad] * is_bad_at_start)], upstreams.predictors(), ports=upstreams.ports)
        async with running_api(objects, tmp_path) as (api, kubeconfig), mesh_process(tmp_path, kubeconfig, port):
            await eventually(lambda: layout.bootstrap(1).exists())
            envoys = [await start_envoy(layout, index) for index in ENVOYS]
            try:
                for index in ENVOYS:
                    await eventually(Admin(layout.admin_socket(index)).ready, timeout_s=30)
                async with aiohttp.ClientSession(base_url=f"http://127.0.0.1:{port}") as client:

                    async def answer(path=PREDICTIONS):
                        async with client.post(path, data=b"{}") as reply:
                            return reply.headers.get("x-slipway-predictor"), reply.headers.get("x-share")

                    async def is_canary():
                        return await answer() == ("canary", None)

                    if not is_bad_at_start:
                        await api.put(VIRTUAL_SERVICE, bad)
                    await api.put(VIRTUAL_SERVICE, virtual_service({"stable": 0, "canary": 100}))
                    await eventually(is_canary, timeout_s=20, what="the other VirtualService's new split")
                    events = await eventually(lambda: api.events, what="an event")
                    assert events[0]["involvedObject"]["name"] == "odd"
                    assert "Envoy refuses these routes" in events[0]["message"]
                    await api.put(VIRTUAL_SERVICE, good)

                    async def is_served():
                        return await answer("/odd/") == ("stable", "100%")

                    await eventually(is_served, what="the corrected VirtualService")
            finally:
                for envoy in envoys:
                    envoy.kill()
                    await envoy.wait()
