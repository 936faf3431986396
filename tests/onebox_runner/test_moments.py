"""The wall clock is set between what the API's stamps tell of and what follows from it so many seconds later."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.kube.client import Kube
from slipway.kube.kinds import POD, REPLICA_SET, Kind
from slipway.kube.reflector import Reflector
from slipway.onebox.runner import workloads
from slipway.onebox.runner.budgets import plan_budget
from slipway.onebox.runner.cache import Cache
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.moments import Memory, Moment, time_text
from slipway.onebox.runner.workload_steps import Change
from slipway.onebox.runner.workload_writes import Writes
from tests.onebox_runner import test_budgets
from tests.onebox_runner.objects import NOW, deployment_object, pod_object, running_pod
from tests.onebox_runner.workload_world import World, end, job_object, roll_to

HOUR_S = 3600.0
BOOTED_AT = NOW - 1000.0
STEPS_S = st.lists(st.tuples(st.floats(0, 100), st.integers(-(10**7), 10**7)), max_size=5)


class Clocks:
    """Both clocks of a machine, and what a runner remembers: a time as it is → the moment of a round."""

    def __init__(self) -> None:
        self.memory, self.step_s = Memory(), 0.0

    def __call__(self, now: float) -> Moment:
        self.memory.begin_round()
        return self.memory.moment(now + self.step_s, now - BOOTED_AT)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture(params=[-HOUR_S, HOUR_S], ids=["back", "forward"])
def step_s(request: pytest.FixtureRequest) -> float:
    return float(request.param)


@given(STEPS_S)
def test_what_was_seen_is_as_old_as_the_seconds_since_however_the_clock_is_set(steps: list[tuple[float, int]]) -> None:
    clocks, pod, now = Clocks(), pod_object(), NOW
    clocks(now).since(pod, time_text(NOW))
    for wait_s, step_s in steps:
        now += wait_s
        clocks.step_s += step_s
        moment = clocks(now)
        assert moment.wall - moment.since(pod, time_text(NOW)) == pytest.approx(now - NOW, abs=1e-4)


@given(st.integers(-(10**7), 10**7))
def test_a_stamp_that_is_new_to_a_runner_is_trusted_but_of_no_future(ahead_s: int) -> None:
    since = Clocks()(NOW).since(pod_object(), time_text(NOW + ahead_s))
    assert since == pytest.approx(min(NOW, NOW + ahead_s), abs=1e-4)


def test_the_same_words_of_another_object_are_another_stamp(clocks: Clocks) -> None:
    clocks(NOW).since(pod_object("one"), time_text(NOW))
    clocks.step_s = -HOUR_S
    assert clocks(NOW + HOUR_S).since(pod_object("two"), time_text(NOW)) == pytest.approx(NOW, abs=1e-4)


def test_what_nobody_asks_for_is_forgotten(clocks: Clocks) -> None:
    for _ in range(3):
        moment = clocks(NOW)
        for index in range(10):
            moment.since(pod_object(), time_text(NOW - index))
    clocks(NOW)
    clocks(NOW)
    assert not clocks.memory._seen
    assert not clocks.memory._before


def test_pods_are_available_after_min_ready_seconds(clocks: Clocks, step_s: float) -> None:
    world = World(deployment_object(1, minReadySeconds=10), moment=clocks)
    world.settle(NOW)
    world.make_ready(world.all("Pod")[0], NOW)
    world.settle(NOW)
    clocks.step_s = step_s
    for at, available in ((9, None), (10, 1)):
        world.settle(NOW + at)
        assert world.one("Deployment", "d")["status"].get("availableReplicas") == available


def test_a_roll_out_is_given_up_after_its_deadline_and_not_before_it(clocks: Clocks, step_s: float) -> None:
    world = World(deployment_object(1, progressDeadlineSeconds=60), moment=clocks)
    world.settle(NOW)
    world.make_ready(world.all("Pod")[0], NOW)
    world.settle(NOW)
    roll_to(world, "test/app:2")
    world.settle(NOW)
    clocks.step_s = step_s
    for at, reason in ((59, "ReplicaSetUpdated"), (61, "ProgressDeadlineExceeded")):
        world.settle(NOW + at)
        (shown,) = (c for c in world.one("Deployment", "d")["status"]["conditions"] if c["type"] == "Progressing")
        assert shown["reason"] == reason


def test_what_failed_is_tried_again_after_its_pause(clocks: Clocks, step_s: float) -> None:
    for world in (World(job_object(), moment=clocks), World(deployment_object(1), moment=clocks)):
        clocks.step_s = 0.0
        world.settle(NOW)
        end(world.all("Pod")[0], "Failed", NOW)
        world.settle(NOW)
        clocks.step_s = step_s
        for at, pods in ((9, 1), (10, 2)):
            world.settle(NOW + at)
            assert len(world.all("Pod")) == pods


def test_a_job_has_the_seconds_that_it_was_given(clocks: Clocks, step_s: float) -> None:
    world = World(job_object(activeDeadlineSeconds=60, ttlSecondsAfterFinished=30), moment=clocks)
    world.settle(NOW)
    clocks.step_s = step_s
    for at, pods in ((59, 1), (60, 0)):
        world.settle(NOW + at)
        assert len(world.all("Pod")) == pods
    clocks.step_s = 0.0
    for at, jobs in ((89, 1), (90, 0)):
        world.settle(NOW + at)
        assert len(world.all("Job")) == jobs


def test_an_evicted_pod_counts_as_gone_for_as_long_as_it_would(clocks: Clocks, step_s: float) -> None:
    obj = test_budgets.budget(minAvailable=2, status={"disruptedPods": {"p0": time_text(NOW)}})
    objects = test_budgets.world(3, 3)
    plan_budget(obj, **objects, now=clocks(NOW))
    clocks.step_s = step_s
    for at, allowed in ((119, 0), (120, 1)):
        (step,) = plan_budget(obj, **objects, now=clocks(NOW + at))
        assert isinstance(step, Change)
        assert step.patch["status"]["disruptionsAllowed"] == allowed


async def test_the_controllers_remember_from_round_to_round(monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    """A Pod is ready for half of its minReadySeconds when the clock is set: it is available after the other half."""
    owner = {**deployment_object(1, minReadySeconds=20), "kind": "ReplicaSet", "status": {}}
    pod = running_pod("p", owner, ready=True, at=NOW)
    pod["metadata"]["labels"] = {"app": "d"}
    cached = {REPLICA_SET: owner, POD: pod}

    class Api:
        def objects(self, kind: Kind) -> dict[tuple[str, str], Any]:
            return {("default", "one"): cached[kind]} if kind in cached else {}

        async def patch(self, kind: Kind, name: str, body: dict[str, Any], **_: Any) -> dict[str, Any]:
            cached[kind]["status"] = body["status"]
            return {**cached[kind], "metadata": {**cached[kind]["metadata"], "resourceVersion": "2"}}

    api = Api()
    cache, events = Cache(cast(Reflector, api)), cast(Events, api)
    controllers = workloads.Workloads(Writes(cast(Kube, api), cache, events, lambda item: item), cache, events)
    for ready_s, ahead_s, available in ((10, 0.0, None), (19, step_s, None), (20, step_s, 1)):
        monkeypatch.setattr(time, "time", lambda wall=NOW + ready_s + ahead_s: wall)
        monkeypatch.setattr(workloads, "boot_time", lambda boot=NOW + ready_s - BOOTED_AT: boot)
        pause_s = await controllers._round()
        assert owner["status"].get("availableReplicas") == available
        assert available or pause_s == pytest.approx(20 - ready_s + 0.01, abs=1e-4)
