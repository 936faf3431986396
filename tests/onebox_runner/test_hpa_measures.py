"""What an autoscaler measures: processes, and series at the metric paths of Pods."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from slipway.contract.quantity import parse_quantity, quantity_text
from slipway.kube.scrape import Exposition, expositions
from slipway.onebox.runner import scaling_read
from slipway.onebox.runner.hpa_metrics import Use
from slipway.onebox.runner.hpa_pods import Source
from slipway.onebox.runner.hpa_spec import Series
from slipway.onebox.runner.scaling_read import read_resources, read_series
from slipway.onebox.runner.scaling_samples import WINDOW_S, Samples, measured
from slipway.onebox.runner.scaling_series import Counter, Gauge, Observations, parse_series
from slipway.onebox.runner.scaling_targets import SCALED, find_targets
from slipway.serving.pressure import IN_FLIGHT, QUEUE_SECONDS
from tests.onebox_runner.objects import NOW, deployment_object, pod_object
from tests.waiting import wait_until

TEXT = f"""\
# HELP {IN_FLIGHT} Requests.
# TYPE {IN_FLIGHT} gauge
{IN_FLIGHT}{{worker_id="0"}} 3.0
{IN_FLIGHT}{{worker_id="1"}} 4.0
# TYPE {QUEUE_SECONDS} histogram
{QUEUE_SECONDS}_bucket{{worker_id="0",le="+Inf"}} 10.0
{QUEUE_SECONDS}_count{{worker_id="0"}} 10.0
{QUEUE_SECONDS}_sum{{worker_id="0"}} 2.5
# TYPE calls_total counter
calls_total 7.0
# TYPE slipway_in_flight_others gauge
slipway_in_flight_others 99.0
"""
SERIES = Series(IN_FLIGHT)


def test_series_of_a_name_are_added_up_and_keep_their_kind():
    wanted = [
        SERIES,
        Series(IN_FLIGHT, (("worker_id", "1"),)),
        Series(QUEUE_SECONDS),
        Series("calls_total"),
        Series("x"),
    ]
    found = parse_series(TEXT, wanted)
    assert list(found.values()) == [Counter(7.0), Gauge(7.0), Gauge(4.0), Observations(2.5, 10.0)]
    assert Series("x") not in found


@pytest.mark.parametrize("text", ["", "\0\0", "slipway_in_flight\n", "slipway_in_flight{ 1\n", "<html>"])
def test_another_form_has_no_series(text: str):
    try:
        assert parse_series(text, [SERIES]) == {}
    except ValueError:
        return  # as the reader expects of what cannot be parsed


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str):
    for body in (text, f"{IN_FLIGHT} {text}", f"{IN_FLIGHT}{{{text}}} 1", f"# TYPE {IN_FLIGHT} {text}"):
        try:
            parse_series(body, [SERIES])
        except ValueError:
            continue


def test_too_many_series_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("slipway.onebox.runner.scaling_series.MAX_LINES", 2)
    with pytest.raises(ValueError, match="3 series: 2 are the limit"):
        parse_series(TEXT, [SERIES])


@pytest.mark.parametrize(
    ("points", "milli"),
    [
        ([Gauge(1), Gauge(2), Gauge(6)], 3000),
        ([Gauge(2)], 2000),
        ([Counter(10.0)], None),
        ([Counter(10.0), Counter(12.5), Counter(15.0)], 500),
        ([Counter(10.0), Counter(1.0), Counter(6.0)], 500),  # begun anew between the first two
        ([Observations(1.0, 10), Observations(2.0, 14)], 250),
        ([Observations(1.0, 10), Observations(1.0, 10)], 0),
        ([Gauge(1), Counter(3)], None),
        ([Gauge(float("nan"))], None),
        ([Gauge(float("inf"))], None),
        ([Gauge(-5)], 0),
    ],
)
def test_a_measurement_is_of_the_last_seconds(points: list[Any], milli: int | None):
    use = measured([(NOW + 5 * index, point) for index, point in enumerate(points)], NOW + 60)
    assert (use and use.milli) == milli
    if use is not None:
        assert (use.age_s, use.window_s) == (60 - 5.0 * (len(points) - 1), 5.0 * (len(points) - 1))


def test_samples_are_kept_for_one_window_and_for_pods_that_there_are():
    samples, source, other = Samples(), Source("a", "main", SERIES), Source("b", "main", SERIES)
    for step in range(100):
        samples.take({source: Gauge(step), other: Gauge(0)}, NOW + step)
    samples.keep({"a"}, NOW + 99)
    assert samples.uses(NOW + 100) == {source: Use(91500, 1.0, WINDOW_S)}
    samples.keep({"a"}, NOW + 99 + WINDOW_S)
    assert samples.uses(NOW + 100) == {}


def scraped(*containers: dict[str, Any], **annotations: str) -> dict[str, Any]:
    named = {"prometheus.io/scrape": "true", **{f"prometheus.io/{key}": value for key, value in annotations.items()}}
    meta = {"annotations": named}
    return pod_object(metadata=meta, spec={"containers": list(containers)}, status={"podIP": "127.16.0.9"})


def container(name: str, **ports: int) -> dict[str, Any]:
    return {"name": name, "ports": [{"name": key, "containerPort": number} for key, number in ports.items()]}


def test_metric_paths_are_found_by_annotation_and_port_name():
    model, executor = container("model", http=9000, metrics=6000), container("seldon-container-engine", http=8000)
    found = expositions(scraped(model, executor, path="/prometheus"))
    assert found == (
        Exposition("model", "http://127.16.0.9:6000/prometheus"),
        Exposition("seldon-container-engine", "http://127.16.0.9:8000/prometheus"),
    )
    executor["readinessProbe"] = {"httpGet": {"scheme": "HTTPS"}}
    assert expositions(scraped(executor))[0].url == "https://127.16.0.9:8000/metrics"
    assert expositions(scraped(model, port="1234")) == (Exposition("", "http://127.16.0.9:1234/metrics"),)
    assert expositions(scraped(model, port="x@evil")) == ()
    assert expositions(scraped(model, scrape="false")) == ()
    assert expositions(pod_object()) == ()


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    """Metric paths: one in good order, one too long, one that redirects."""

    async def good(_: web.Request) -> web.Response:
        return web.Response(text=TEXT)

    async def long(_: web.Request) -> web.Response:
        return web.Response(text="x" * 2000)

    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPFound("/good")

    app = web.Application()
    app.add_routes([web.get("/good", good), web.get("/long", long), web.get("/elsewhere", elsewhere)])
    async with TestServer(app) as server:
        yield server


@pytest.mark.parametrize(("path", "count"), [("good", 1), ("long", 0), ("elsewhere", 0), ("missing", 0)])
async def test_a_metric_path_in_good_order_is_read_and_no_other(
    server: TestServer, monkeypatch: pytest.MonkeyPatch, path: str, count: int
):
    monkeypatch.setattr(scaling_read, "MAX_SCRAPE_BYTES", 1000)
    pod = scraped(port=str(server.port), path=path) | {"status": {"podIP": "127.0.0.1"}}
    async with aiohttp.ClientSession() as session:
        found = await read_series(session, {"uid-p": (pod, {SERIES})})
    assert found == ({Source("uid-p", "", SERIES): Gauge(7.0)} if count else {})


def test_processor_and_memory_are_those_of_a_container_s_processes():
    """A child of the first process counts; the container's own numbers are of the kernel."""
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    leader = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    try:

        def used() -> dict[Source, Any]:
            return read_resources({"uid-p": {"main": leader.pid}}, {"cpu", "memory"})

        source = Source("uid-p", "main", "cpu")
        wait_until(lambda: used()[source].total >= 0.5, timeout_s=40, what="half a second of processor")
        assert used()[Source("uid-p", "main", "memory")].value > 1_000_000
    finally:
        os.killpg(leader.pid, 9)
        leader.wait()
    assert used()[source] == Counter(0)


@pytest.mark.parametrize(("milli", "text"), [(0, "0"), (1500, "1500m"), (2000, "2"), (12_000_000, "12k"), (7, "7m")])
def test_quantities_are_written_as_kubernetes_does(milli: int, text: str):
    assert quantity_text(milli) == text
    assert parse_quantity(text) * 1000 == milli


def hpa(name: str, *, target: str = "d", kind: str = "Deployment", version: str = "apps/v1") -> dict[str, Any]:
    reference = {"apiVersion": version, "kind": kind, "name": target}
    spec = {"maxReplicas": 3, "scaleTargetRef": reference}
    return {"metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"}, "spec": spec}


def test_targets_are_found_with_the_pods_that_their_selector_finds():
    mine, other = (pod_object(name, metadata={"labels": {"app": app}}) for name, app in (("a", "d"), ("b", "e")))
    workloads = {kind: {("default", "d"): deployment_object()} for kind in SCALED.values()}
    (found,) = find_targets([hpa("h")], workloads, [mine, other])
    assert (found.replicas, list(found.pods), found.problem, found.rivals) == (2, [mine], "", ())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"target": "none"}, 'deployments.apps "none" not found'),
        ({"kind": "SeldonDeployment", "version": "machinelearning.seldon.io/v1"}, "is not scaled here"),
        ({"kind": "Deployment", "version": "v1"}, "is not scaled here"),
    ],
)
def test_what_cannot_be_scaled_says_why(changes: dict[str, str], problem: str):
    workloads: dict[Any, Any] = {kind: {("default", "d"): deployment_object()} for kind in SCALED.values()}
    (found,) = find_targets([hpa("h", **changes)], workloads, [])
    assert problem in found.problem


def test_two_autoscalers_of_one_target_are_rivals():
    workloads = {kind: {("default", "d"): deployment_object()} for kind in SCALED.values()}
    found = find_targets([hpa("b"), hpa("a"), hpa("c", target="none")], workloads, [])
    assert [target.rivals for target in found] == [["default/a", "default/b"]] * 2 + [()]


def test_an_autoscaler_that_cannot_be_read_stops_no_other():
    workloads: dict[Any, Any] = {kind: {("default", "d"): deployment_object()} for kind in SCALED.values()}
    broken = hpa("a")
    broken["spec"]["metrics"] = ["x"]
    first, second = find_targets([broken, hpa("b", target="e")], workloads, [])
    assert "cannot be read: TypeError" in first.problem
    assert "not found" in second.problem
