"""What Prometheus is told to scrape on one machine, and what an Envoy shows it."""

from __future__ import annotations

import json
from ipaddress import IPv4Network

import aiohttp
import pytest

from slipway.onebox.mesh.layout import Layout
from slipway.onebox.mesh.scrape_targets import envoy_groups, pod_groups
from slipway.onebox.mesh.write import prepare
from slipway.onebox.paths import Paths
from tests.onebox_mesh.envoys import start_envoy
from tests.waiting import eventually

NETWORK = IPv4Network("127.111.240.0/20")  # the last of the machine's: homes begin at a random one


EXECUTOR = "seldon-container-engine"


def pod(name, address="127.20.0.1", *, phase="Running", container=EXECUTOR, ports=((8000, "http"),), **annotations):
    listed = [{"name": kind, "containerPort": number} for number, kind in ports]
    return {
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {"containers": [{"name": container, "ports": listed}, {"name": "quiet"}]},
        "status": {"podIP": address, "phase": phase},
    }


SELDON = {"prometheus.io/scrape": "true", "prometheus.io/path": "/prometheus"}


def test_each_metrics_port_of_each_pod_is_a_target_with_the_names_of_a_cluster():
    found = pod_groups(
        [pod("b", **SELDON), pod("a", "127.20.0.2", container="model", ports=((6000, "metrics"),), **SELDON)]
    )
    assert [group["targets"] for group in found] == [["127.20.0.2:6000"], ["127.20.0.1:8000"]]
    assert found[1]["labels"] == {
        "namespace": "default",
        "pod": "b",
        "container": EXECUTOR,
        "__scheme__": "http",
        "__metrics_path__": "/prometheus",
    }


def test_pods_that_ask_for_nothing_have_no_address_or_are_over_are_no_targets():
    none = [
        pod("silent"),
        pod("no", **{**SELDON, "prometheus.io/scrape": "false"}),
        pod("over", phase="Succeeded", **SELDON),
        pod("new", address="", phase="Pending", **SELDON),
        pod("without", container="model", ports=((9000, "http"),), **SELDON),
        {"metadata": {"name": "bare", "namespace": "default"}, "spec": {}},
    ]
    assert pod_groups(none) == []


NUMBERED = {**SELDON, "prometheus.io/port": "6000"}


@pytest.mark.parametrize(
    "broken",
    [
        pod("p", container="model", ports=((None, "metrics"),), **SELDON),
        pod("p", container="model", ports=(("6000", "metrics"),), **SELDON),
        pod("p", container="model", ports=((99999999, "metrics"),), **SELDON),
        pod("p", **{**SELDON, "prometheus.io/port": "²"}),
        pod("p", **{**SELDON, "prometheus.io/port": "٣"}),
        pod("p", **{**SELDON, "prometheus.io/port": "99999999"}),
        pod("p", address="[", **NUMBERED),
        {**pod("p", **SELDON), "spec": {"containers": [{"name": EXECUTOR, "ports": [{"name": "http"}]}]}},
    ],
)
def test_pod_whose_port_or_address_is_none_is_no_target_and_keeps_no_other_from_being_one(broken):
    whole = pod("whole", "127.20.0.2", **NUMBERED)
    assert [group["targets"] for group in pod_groups([broken, whole])] == [["127.20.0.2:6000"]]


def test_order_of_pods_does_not_show():
    pods = [pod("a", **SELDON), pod("b", "127.20.0.2", **SELDON)]
    assert pod_groups(pods) == pod_groups(reversed(pods))


async def test_envoys_show_their_metrics_where_prometheus_is_told_and_nothing_else_of_their_administration(tmp_path):
    layout = Layout(Paths(tmp_path))
    prepare(layout, NETWORK)
    assert json.loads(layout.envoy_targets.read_text()) == envoy_groups(NETWORK)
    addresses = [group["targets"][0] for group in envoy_groups(NETWORK)]
    assert addresses == ["127.111.255.254:15090", "127.111.255.253:15090"]
    envoy = await start_envoy(layout, 1)
    try:
        async with aiohttp.ClientSession(base_url=f"http://{addresses[1]}") as client:

            async def shows():
                try:
                    async with client.get("/stats/prometheus?usedonly") as answer:
                        return "envoy_server_live" in await answer.text()
                except aiohttp.ClientError:
                    return False

            await eventually(shows, timeout_s=20)
            for method, path in (("POST", "/stats/prometheus"), ("POST", "/quitquitquit"), ("GET", "/config_dump")):
                async with client.request(method, path) as answer:
                    assert answer.status == 404, path
    finally:
        envoy.kill()
        await envoy.wait()
        layout.admin_socket(1).unlink(missing_ok=True)
        layout.paths.sockets.rmdir()
