from __future__ import annotations

import asyncio
import sys
import time
from contextlib import asynccontextmanager

import aiohttp
import pytest

from slipway.kube.kinds import ENDPOINT_SLICE, VIRTUAL_SERVICE
from slipway.onebox.mesh.__main__ import main
from slipway.onebox.mesh.admin import Admin
from slipway.onebox.mesh.layout import ENVOYS, Layout
from slipway.onebox.paths import Paths
from tests.onebox_mesh.api import running_api
from tests.onebox_mesh.envoys import start_envoy
from tests.onebox_mesh.upstreams import running_upstreams
from tests.onebox_mesh.world import GATEWAY, endpoint_slice, item, virtual_service, world
from tests.ports import free_port
from tests.waiting import eventually

PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"


@asynccontextmanager
async def mesh_process(home, kubeconfig, port):
    arguments = ["--home", str(home), "--kubeconfig", str(kubeconfig), "--gateway", f"127.0.0.1:{port}"]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "slipway.onebox.mesh", *arguments)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0


@pytest.mark.e2e
async def test_mesh_process_follows_the_api_into_two_envoys(tmp_path):
    layout, port = Layout(Paths(tmp_path)), free_port()
    async with running_upstreams(stable=1, canary=1) as upstreams:
        objects = world([virtual_service({"stable": 100, "canary": 0})], upstreams.predictors(), ports=upstreams.ports)
        async with running_api(objects, tmp_path) as (api, kubeconfig), mesh_process(tmp_path, kubeconfig, port):
            await eventually(lambda: layout.bootstrap(1).exists())
            envoys = [await start_envoy(layout, index) for index in ENVOYS]
            try:
                for index in ENVOYS:
                    await eventually(Admin(layout.admin_socket(index)).ready, timeout_s=20)
                async with aiohttp.ClientSession(base_url=f"http://127.0.0.1:{port}") as client:
                    await _answers(client, "stable")
                    await api.put(VIRTUAL_SERVICE, virtual_service({"stable": 0, "canary": 100}))
                    took_s = await _answers(client, "canary")
                    assert took_s < 1, "a new split is due within a second"
                    unready = endpoint_slice("yolo-canary", upstreams.ports, {upstreams.of("canary")[0].address: False})
                    await api.put(VIRTUAL_SERVICE, virtual_service({"stable": 50, "canary": 50}))
                    await api.put(ENDPOINT_SLICE, unready)
                    await _answers(client, "stable")
            finally:
                for envoy in envoys:
                    envoy.kill()
                    await envoy.wait()


async def _answers(client, predictor) -> float:
    """Seconds until twenty answers in a row, each on a connection of its own choice, come from ``predictor``."""
    started = time.monotonic()

    async def row():
        for _ in range(20):
            async with client.post(PREDICTIONS, data=b"{}", headers={"connection": "close"}) as reply:
                if reply.headers.get("x-slipway-predictor") != predictor:
                    return False
        return True

    await eventually(row, what=f"twenty answers of {predictor}")
    return time.monotonic() - started


async def test_mesh_process_reports_what_it_cannot_honour_as_an_event(tmp_path):
    odd = virtual_service({"stable": 0}, corsPolicy={"maxAge": "1s"})
    own = {"hosts": ["*"], "gateways": [GATEWAY], "http": [{"route": [{"destination": {"host": "nobody"}}]}]}
    objects = world([odd, item("VirtualService", "own", own)], {"stable": {"127.20.0.1": True}})
    async with running_api(objects, tmp_path) as (api, kubeconfig), mesh_process(tmp_path, kubeconfig, free_port()):
        found = await eventually(lambda: len(api.events) >= 3 and api.events, what="three events")
    about = {(event["involvedObject"]["name"], event["reason"], event["message"]) for event in found}
    unsupported = "not supported on one machine: it has no effect here"
    assert about == {
        ("yolo", "NotSupported", f"spec.http[0].corsPolicy: {unsupported}"),
        ("yolo", "NotSupported", f"spec.http[1].corsPolicy: {unsupported}"),
        ("own", "NotFound", "spec.http[0].route[0].destination.host: there is no Service 'nobody': it gets no traffic"),
    }


@pytest.mark.parametrize("address", ["8080", "localhost", "127.0.0.1:0", "127.0.0.1:99999", ":80"])
def test_main_refuses_an_address_without_host_or_port(address, capsys):
    with pytest.raises(SystemExit) as raised:
        main(["--home", ".", "--kubeconfig", "x", "--gateway", address])
    assert raised.value.code == 2
    assert "such as 127.0.0.1:8080" in capsys.readouterr().err
