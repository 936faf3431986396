"""The wall clock is set while Pods run: what was promised in seconds takes as many."""

from __future__ import annotations

import signal
import time
from datetime import datetime

import pytest

from slipway.onebox.runner import decide
from slipway.onebox.runner.pod_worker import PodWorker
from tests.onebox_runner.conftest import Pods
from tests.onebox_runner.test_pods import DEAF, SERVER, ready

HOUR_S = 3600.0
PROBE = {"httpGet": {"path": "/", "port": 9000}, "periodSeconds": 1, "failureThreshold": 1}


@pytest.fixture(params=[-HOUR_S, HOUR_S], ids=["back", "forward"])
def step_s(request: pytest.FixtureRequest) -> float:
    return float(request.param)


def set_clock(monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + step_s)


async def ready_server(pods: Pods) -> PodWorker:
    worker = pods.start("python", "-c", SERVER, readinessProbe=PROBE)
    await pods.until(lambda: "running" in pods.state())
    (worker.folder / "tmp" / "ready").touch()
    await pods.until(lambda: ready(pods))
    return worker


async def test_a_model_that_fails_is_seen_whatever_the_clock_says(
    pods: Pods, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    worker = await ready_server(pods)
    set_clock(monkeypatch, step_s)
    (worker.folder / "tmp" / "ready").unlink()
    await pods.until(lambda: not ready(pods))


async def test_a_pod_ends_within_its_grace_period_and_not_before_it(
    pods: Pods, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    worker = pods.start("python", "-c", DEAF)
    await pods.until(lambda: pods.log(worker) == ["deaf"])
    begun_at = time.monotonic()
    worker.stop("deleted")
    await pods.until(lambda: worker._observed.of("main").stop is not None)  # TERM is on its way
    set_clock(monkeypatch, step_s)
    worker._wake.set()  # it looks at the clock
    await pods.stop(worker)
    assert pods.state()["terminated"]["exitCode"] == 128 + signal.SIGKILL
    assert time.monotonic() - begun_at >= decide.DRAIN_S + worker.pod.grace_s


async def test_the_next_runner_knows_how_long_a_container_has_run(
    pods: Pods, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    worker = await ready_server(pods)
    before = worker._observed.of("main")
    await pods.abandon(worker)
    set_clock(monkeypatch, step_s)
    adopted = pods.start("python", "-c", SERVER, readinessProbe=PROBE)
    after = adopted._observed.of("main")
    assert after.phase == "running"
    assert after.running_since == pytest.approx(before.running_since, abs=1.0)
    assert after.started_at == before.started_at
    (worker.folder / "tmp" / "ready").unlink()
    await pods.until(lambda: not ready(pods))


async def test_what_is_shown_is_the_wall_clock_s(pods: Pods, monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    set_clock(monkeypatch, step_s)
    worker = await ready_server(pods)
    started = datetime.fromisoformat(pods.state()["running"]["startedAt"]).timestamp()
    assert started == pytest.approx(time.time(), abs=HOUR_S / 2)
    await pods.stop(worker)
    finished = datetime.fromisoformat(pods.state()["terminated"]["finishedAt"]).timestamp()
    assert finished == pytest.approx(time.time(), abs=HOUR_S / 2)
