"""`slipway top`: rates and latencies as real Envoys count them, processor and memory as the kernel does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from slipway.cli.main import main
from slipway.cli.objects import NotReady
from slipway.cli.top_figures import Counts, Moment, PodUse, Top, added, counts_of, quantile, render_top, top
from slipway.cli.top_look import look, pod_uses
from slipway.kube.client import Kube
from slipway.kube.kinds import Kind
from slipway.onebox.mesh.admin import Admin
from slipway.onebox.paths import Paths
from slipway.onebox.supervisor.procfs import cpu_seconds
from tests.contract.manifests import predictor, sdep
from tests.onebox_mesh.envoys import running_gateway
from tests.onebox_mesh.upstreams import running_upstreams
from tests.onebox_mesh.world import virtual_service, world
from tests.waiting import eventually, wait_until

PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"
STABLE = ("stable", "yolo-stable.default.svc.cluster.local")
CLUSTER = "cluster.outbound|8000|stable|yolo-stable.default.svc.cluster.local"
REQUESTS = 60
TEXT = f"""\
{CLUSTER}.upstream_rq_active: 2
{CLUSTER}.upstream_rq_pending_active: 3
{CLUSTER}.upstream_rq_total: 110
{CLUSTER}.upstream_rq_retry: 10
{CLUSTER}.upstream_rq_5xx: 4
{CLUSTER.replace("8000", "5001")}.upstream_rq_total: 20
{CLUSTER.replace("|stable|", "||")}.upstream_rq_total: 999
{CLUSTER}.upstream_rq_time: B0.5(0,0) B1(0,7) B5(10,50) B10(19,90) B1.8e+06(20,100)
"""


class Objects:
    """Lists what it was given, by kind."""

    def __init__(self, **items: list[dict[str, Any]]) -> None:
        self._items = items

    async def list(self, kind: Kind, **_: object) -> SimpleNamespace:
        return SimpleNamespace(items=tuple(self._items.get(kind.kind, ())))


def as_kube(fake: Objects) -> Kube:
    found: Any = fake
    return found  # type: ignore[no-any-return]


def yolo() -> dict[str, Any]:
    return sdep(predictor("stable"), name="yolo", metadata={"namespace": "default"})


def use(**more: Any) -> PodUse:
    whole: dict[str, Any] = {
        "namespace": "default",
        "name": "p-1",
        "predictor": "stable",
        "deployment": "yolo",
        "is_ready": True,
        "restarts": 1,
        "cpu_s": 4.0,
        "pss_bytes": 3 << 20,
    }
    return PodUse(**{**whole, **more})


def moment(at_s: float, counts: Counts, *pods: PodUse) -> Moment:
    return Moment(at_s, {STABLE: counts}, {("default", "yolo", "stable"): STABLE}, pods)


def test_counts_are_of_the_split_only_and_retries_are_no_requests() -> None:
    took = ((0.5, 0), (1.0, 0), (5.0, 10), (10.0, 19), (1.8e6, 20))
    assert counts_of(TEXT) == {STABLE: Counts(requests=120, errors=4, in_flight=2, queued=3, took=took)}


def test_counts_of_two_envoys_add_up() -> None:
    one = Counts(requests=1, took=((1.0, 2), (5.0, 3)))
    assert added([one, one]) == Counts(requests=2, took=((1.0, 4), (5.0, 6)))


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.25, 3.0), (0.5, 5.0), (0.95, 10.0), (0.05, 1.4)],
)
def test_a_quantile_is_linear_inside_its_bucket(share: float, expected: float) -> None:
    assert quantile(counts_of(TEXT)[STABLE].took, share) == pytest.approx(expected)


@pytest.mark.parametrize("took", [(), ((1.0, 0), (5.0, 0))])
def test_there_is_no_quantile_without_requests(took: tuple[tuple[float, int], ...]) -> None:
    assert quantile(took, 0.5) is None


def test_rates_are_over_the_time_between() -> None:
    before = moment(10, Counts(requests=100, errors=2), use(cpu_s=4.0))
    now = moment(14, Counts(requests=180, errors=4, in_flight=1), use(cpu_s=5.0), use(name="p-2", is_ready=False))
    (row,) = top(before, now).predictors
    assert (row.requests_per_s, row.errors_per_s, row.in_flight) == (20.0, 0.5, 1)
    assert (row.ready, row.pods, row.cpu, row.pss_bytes) == (1, 2, 0.25, 6 << 20)


def test_an_envoy_that_was_started_anew_gives_no_negative_rate() -> None:
    (row,) = top(moment(0, Counts(requests=100)), moment(1, Counts(requests=5))).predictors
    assert row.requests_per_s == 5


def test_the_tables_show_what_is_not_known_as_a_dash() -> None:
    pods = (use(cpu_s=None, pss_bytes=None), use(name="p-2", cpu_s=5.0))
    text = render_top(top(moment(0, Counts()), moment(2, Counts(requests=3, took=((4.0, 2),)), *pods)))
    assert text.splitlines() == [
        "NAMESPACE   SELDONDEPLOYMENT   PREDICTOR   READY   REQ/S   P50_MS   P99_MS   5XX/S   IN_FLIGHT   QUEUE   CPU   PSS_MIB",
        "default     yolo               stable      2/2     1.5     2.0      4.0      0.0     0           0       -     3",
        "",
        "NAMESPACE   POD   READY   RESTARTS   CPU   PSS_MIB",
        "default     p-1   yes     1          -     -",
        "default     p-2   yes     1          -     3",
    ]


def test_without_seldon_deployments_it_says_how_to_make_one() -> None:
    assert "slipway apply -k" in render_top(Top((), ()))


def test_json_holds_the_same() -> None:
    picture = json.loads(json.dumps(top(moment(0, Counts()), moment(1, Counts(), use())).as_json()))
    assert picture["predictors"][0]["predictor"] == "stable"
    assert picture["pods"][0]["name"] == "p-1"


def test_pods_are_found_by_their_deployment() -> None:
    deployment = {
        "metadata": {"namespace": "a", "name": "d", "annotations": {"slipway.dev/predictor": "canary"}},
    }
    pod = {
        "metadata": {"namespace": "a", "name": "d-1", "labels": {"app": "d", "seldon-deployment-id": "yolo"}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"restartCount": 2}, {"restartCount": 1}],
        },
    }
    other = {"metadata": {"namespace": "a", "name": "x", "labels": {}}}
    (found,) = pod_uses([deployment], [pod, other], {("a", "d-1"): (1.5, 7)})
    assert found == PodUse("a", "d-1", "canary", "yolo", is_ready=True, restarts=3, cpu_s=1.5, pss_bytes=7)


def test_processor_time_is_the_kernels() -> None:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        wait_until(lambda: cpu_seconds(child.pid) >= 0.2, timeout_s=30, what="0.2 s of processor")
    finally:
        child.kill()
        child.wait()
    assert cpu_seconds(child.pid) == 0
    own = time.process_time()
    assert cpu_seconds(os.getpid()) >= own - 0.05


async def test_without_envoys_it_is_not_ready(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="no Envoy of this machine answers"):
        await look(as_kube(Objects()), [Admin(tmp_path / "none.sock")], Paths(tmp_path), namespace=None)


def test_a_pause_below_half_a_second_is_wrong_usage() -> None:
    assert CliRunner().invoke(main, ["top", "--every", "0"]).exit_code == 2


@pytest.mark.e2e
async def test_what_the_envoys_count_is_shown(tmp_path: Path) -> None:
    async with running_upstreams(stable=1) as upstreams:
        objects = world([virtual_service({"stable": 0})], upstreams.predictors(lambda _: True), ports=upstreams.ports)
        async with running_gateway(tmp_path, objects) as running, aiohttp.ClientSession(running.url) as client:
            admins = [Admin(admin.socket, timeout_s=20) for admin in running.admins]
            kube = as_kube(Objects(SeldonDeployment=[yolo()]))
            before = await look(kube, admins, Paths(tmp_path), namespace=None)

            async def has_latency() -> Top | None:  # Envoy closes its histograms every 5 s
                for _ in range(REQUESTS):
                    async with client.post(PREDICTIONS, data=b"{}") as reply:
                        assert reply.status == 200
                sent.append(REQUESTS)
                now = await look(kube, admins, Paths(tmp_path), namespace=None)
                assert now.counts[STABLE].requests == sum(sent)
                picture = top(before, now)
                return picture if picture.predictors[0].p50_ms is not None else None

            sent: list[int] = []
            picture = await eventually(has_latency, timeout_s=50, what="a latency")
    assert picture is not None
    (row,) = picture.predictors
    assert row.requests_per_s > 0
    assert row.p50_ms is not None
    assert row.p99_ms is not None
    assert 0 < row.p50_ms <= row.p99_ms
