"""Paused Deployments: scaled and not rolled, and their deadline waits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.runner.deployment_status import deadline_at
from slipway.onebox.runner.deployments import Bounds, Generation, paused_sizes
from slipway.onebox.runner.moments import Moment
from tests.onebox_runner.objects import NOW, deployment_object
from tests.onebox_runner.workload_world import World, roll_to


def _generations(*replicas: int) -> list[Generation]:
    objects = [
        {"metadata": {"name": f"d-{index}", "annotations": {"deployment.kubernetes.io/revision": str(index)}}}
        for index in range(len(replicas))
    ]
    return [Generation(obj, count, count, count, count, count) for obj, count in zip(objects, replicas, strict=True)]


def test_paused_deployment_is_scaled_and_not_rolled():
    world = World(deployment_object(2))
    world.settle(NOW)
    (before,) = world.all("ReplicaSet")
    deployment = world.one("Deployment", "d")
    deployment["spec"] = {**deployment_object(5, image="test/app:2")["spec"], "paused": True}
    world.settle(NOW)
    (after,) = world.all("ReplicaSet")
    assert (after["metadata"]["name"], after["spec"]["replicas"]) == (before["metadata"]["name"], 5)
    assert {pod["spec"]["containers"][0]["image"] for pod in world.all("Pod")} == {"test/app:1"}
    deployment = world.one("Deployment", "d")
    deployment["spec"] = {**deployment["spec"], "paused": False}
    world.settle(NOW)
    assert len(world.all("ReplicaSet")) == 2


def test_paused_roll_out_keeps_its_shares_when_it_is_scaled():
    assert paused_sizes(_generations(3, 2), Bounds(4, 1, 1)) == {}  # as far as the roll-out had come
    assert paused_sizes(_generations(3, 2), Bounds(10, 1, 1)) == {"d-0": 6, "d-1": 4}
    assert paused_sizes(_generations(0, 0), Bounds(3, 1, 1)) == {"d-1": 3}
    assert paused_sizes([], Bounds(3, 1, 1)) == {}


@given(st.lists(st.integers(0, 9), max_size=4), st.integers(0, 30), st.integers(0, 3), st.integers(0, 3))
def test_paused_sizes_come_to_what_is_asked_for(counts: list[int], replicas: int, surge: int, unavailable: int):
    sizes = paused_sizes(_generations(*counts), Bounds(replicas, surge, min(unavailable, replicas)))
    assert all(size >= 0 for size in sizes.values())
    if sizes:
        assert replicas <= sum(sizes.values()) <= replicas + surge
        settled = paused_sizes(_generations(*(sizes.get(f"d-{index}", 0) for index in range(len(counts)))), Bounds(replicas, surge, min(unavailable, replicas)))  # fmt: skip
        assert sum(settled.values()) in (0, replicas)


def progressing(world: World) -> tuple[str, str, str]:
    found = next(i for i in world.one("Deployment", "d")["status"]["conditions"] if i["type"] == "Progressing")
    return found["status"], found["reason"], found["message"]


def set_paused(world: World, *, paused: bool) -> None:
    deployment = world.one("Deployment", "d")
    deployment["spec"] = {**deployment["spec"], "paused": paused}


def test_paused_roll_out_does_not_time_out_and_its_deadline_begins_anew():
    world = World(deployment_object(1, progressDeadlineSeconds=60, strategy={"rollingUpdate": {"maxUnavailable": 0}}))
    world.settle(NOW)
    world.make_ready(world.all("Pod")[0], NOW)
    world.settle(NOW)
    roll_to(world, "test/app:2")
    world.settle(NOW + 1)
    set_paused(world, paused=True)
    world.settle(NOW + 2)
    assert progressing(world) == ("Unknown", "DeploymentPaused", "Deployment is paused")
    world.settle(NOW + 1000)
    assert progressing(world)[1] == "DeploymentPaused"
    assert deadline_at(world.one("Deployment", "d"), Moment(NOW)) is None
    set_paused(world, paused=False)
    world.settle(NOW + 1001)
    assert progressing(world) == ("Unknown", "DeploymentResumed", "Deployment is resumed")
    assert deadline_at(world.one("Deployment", "d"), Moment(NOW)) == NOW + 1062
    world.settle(NOW + 1060)
    assert progressing(world)[1] == "DeploymentResumed"
    world.settle(NOW + 1062)
    assert progressing(world)[:2] == ("False", "ProgressDeadlineExceeded")
    set_paused(world, paused=True)
    world.settle(NOW + 1063)
    assert progressing(world)[1] == "ProgressDeadlineExceeded", "what timed out stays so"


def test_roll_out_that_goes_on_after_a_pause_is_progressing_and_then_done():
    world = World(deployment_object(1))
    world.settle(NOW)
    for paused in (True, False):
        set_paused(world, paused=paused)
        world.settle(NOW)
    world.make_ready(world.all("Pod")[0], NOW)
    world.settle(NOW + 1)
    assert progressing(world)[:2] == ("True", "NewReplicaSetAvailable")
