"""Deployments and ReplicaSets: plans, and whole roll-outs played against a Pod model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.onebox.runner.deployment_status import Counts, render_deployment_status
from slipway.onebox.runner.deployments import Generation, bounds, rolling_sizes
from slipway.onebox.runner.moments import Moment, time_text
from slipway.onebox.runner.replica_sets import plan_replica_set
from slipway.onebox.runner.workload_steps import Delete, owner_reference
from tests.onebox_runner.objects import NOW, deployment_object, pod_object, running_pod
from tests.onebox_runner.workload_world import World, roll_to


def available(world: World) -> int:
    return sum(
        bool(pod.get("status")) and pod["status"]["conditions"][0]["status"] == "True" for pod in world.all("Pod")
    )


def images(world: World) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in world.all("Pod")]


def conditions(world: World) -> dict[str, tuple[str, str]]:
    found = world.one("Deployment", "d")["status"]["conditions"]
    return {item["type"]: (item["status"], item["reason"]) for item in found}


def test_a_deployment_becomes_a_replica_set_and_pods_that_belong_together() -> None:
    world = World(deployment_object(2))
    world.settle(NOW)
    (replica_set,) = world.all("ReplicaSet")
    pods = world.all("Pod")
    assert len(pods) == 2
    code = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert replica_set["metadata"]["name"] == f"d-{code}"
    assert replica_set["spec"]["selector"]["matchLabels"] == {"app": "d", "pod-template-hash": code}
    assert all(pod["metadata"]["labels"] == {"app": "d", "pod-template-hash": code} for pod in pods)
    assert all(pod["metadata"]["ownerReferences"] == [owner_reference(replica_set)] for pod in pods)
    assert conditions(world)["Available"] == ("False", "MinimumReplicasUnavailable")
    for pod in pods:
        world.make_ready(pod, NOW)
    world.settle(NOW + 1)
    assert conditions(world) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    status = world.one("Deployment", "d")["status"]
    assert {
        key: status[key] for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    } == dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 2)
    assert "unavailableReplicas" not in status
    assert world.plan(NOW + 1) == []


def test_an_old_pod_stays_until_its_successor_is_ready() -> None:
    world = World(deployment_object(1, strategy={"rollingUpdate": {"maxUnavailable": 0}}))
    world.settle(NOW)
    world.make_ready(world.all("Pod")[0], NOW)
    roll_to(world, "test/app:2")
    world.settle(NOW + 1)
    assert sorted(images(world)) == ["test/app:1", "test/app:2"]
    new = next(pod for pod in world.all("Pod") if pod["spec"]["containers"][0]["image"] == "test/app:2")
    world.make_ready(new, NOW + 2)
    world.settle(NOW + 2)
    assert images(world) == ["test/app:2"]
    assert world.one("Deployment", "d")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"


def test_a_broken_roll_out_leaves_the_old_pods_and_says_so_after_its_deadline() -> None:
    world = World(deployment_object(2, progressDeadlineSeconds=60, strategy={"rollingUpdate": {"maxUnavailable": 0}}))
    world.settle(NOW)
    for pod in world.all("Pod"):
        world.make_ready(pod, NOW)
    world.settle(NOW)
    roll_to(world, "test/app:2")
    world.settle(NOW + 1)
    world.settle(NOW + 200)
    assert sorted(images(world)) == ["test/app:1", "test/app:1", "test/app:2"]
    assert conditions(world) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("False", "ProgressDeadlineExceeded"),
    }


def test_a_roll_back_uses_the_old_replica_set_again() -> None:
    world = World(deployment_object(1))
    world.settle(NOW)
    first = world.all("ReplicaSet")[0]["metadata"]["name"]
    for image in ("test/app:2", "test/app:1"):
        roll_to(world, image)
        for _ in range(3):
            world.settle(NOW)
            for pod in world.all("Pod"):
                world.make_ready(pod, NOW)
    assert images(world) == ["test/app:1"]
    assert len(world.all("ReplicaSet")) == 2
    revision = world.one("ReplicaSet", first)["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    assert (
        revision == "3" == world.one("Deployment", "d")["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    )


def test_a_revision_keeps_the_cause_that_its_deployment_named() -> None:
    """`kubectl rollout history` shows it of each ReplicaSet."""
    cause, applied = "kubernetes.io/change-cause", "kubectl.kubernetes.io/last-applied-configuration"
    world = World(deployment_object(1))
    world.settle(NOW)
    notes = world.one("Deployment", "d")["metadata"].setdefault("annotations", {})
    for image in ("test/app:1", "test/app:2"):
        notes.update({cause: f"to {image}", applied: "{}"})
        roll_to(world, image)
        world.settle(NOW)
    told = [item["metadata"]["annotations"] for item in world.all("ReplicaSet")]
    assert sorted(item[cause] for item in told) == ["to test/app:1", "to test/app:2"]
    assert not any(applied in item for item in told)


def test_recreate_starts_nothing_new_while_an_old_pod_lives() -> None:
    world = World(deployment_object(2, strategy={"type": "Recreate"}))
    world.settle(NOW)
    for pod in world.all("Pod"):
        world.make_ready(pod, NOW)
    roll_to(world, "test/app:2")
    old = [dict(pod) for pod in world.all("Pod")]
    for _ in range(5):
        steps = world.plan(NOW + 1)
        gone = [step for step in steps if isinstance(step, Delete)]
        world.apply([step for step in steps if not isinstance(step, Delete)])
        assert "test/app:2" not in images(world)
        if gone:
            break
    for pod in old:
        pod["metadata"] = {**pod["metadata"], "deletionTimestamp": time_text(NOW)}
        world.objects[("Pod", pod["metadata"]["name"])] = pod
    world.settle(NOW + 2)
    assert "test/app:2" not in images(world)
    for pod in old:
        del world.objects[("Pod", pod["metadata"]["name"])]
    world.settle(NOW + 3)
    assert images(world) == ["test/app:2", "test/app:2"]


def test_scaling_makes_and_removes_pods_unready_and_young_first() -> None:
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "r", "namespace": "default", "uid": "u"},
    }
    replica_set = {**owner, "spec": {"replicas": 1, "template": {"spec": {}}}}
    pods = [
        running_pod("old", owner, ready=True, at=NOW - 100),
        running_pod("young", owner, ready=True, at=NOW),
        running_pod("unready", owner, ready=False),
        running_pod("going", owner, ready=True, going=True),
    ]
    deleted = [
        step.obj["metadata"]["name"]
        for step in plan_replica_set(replica_set, pods, Moment(NOW))
        if isinstance(step, Delete)
    ]
    assert deleted == ["unready", "young"]


def test_min_ready_seconds_delays_availability() -> None:
    world = World(deployment_object(1, minReadySeconds=30))
    world.settle(NOW)
    world.make_ready(world.all("Pod")[0], NOW)
    world.settle(NOW + 29)
    assert conditions(world)["Available"][0] == "False"
    world.settle(NOW + 30)
    assert conditions(world)["Available"][0] == "True"


def test_an_old_replica_set_beyond_the_history_limit_is_removed() -> None:
    world = World(deployment_object(1, revisionHistoryLimit=1))
    for number in range(4):
        roll_to(world, f"test/app:{number}")
        for _ in range(3):
            world.settle(NOW)
            for pod in world.all("Pod"):
                world.make_ready(pod, NOW)
    assert len(world.all("ReplicaSet")) == 2


SHARES = st.one_of(st.integers(0, 4), st.integers(0, 100).map(lambda n: f"{n}%"))


@settings(max_examples=60, deadline=None)
@given(
    replicas=st.integers(0, 5),
    surge=SHARES,
    unavailable=SHARES,
    turns=st.lists(st.tuples(st.sampled_from(["ready", "crash", "edit", "scale"]), st.integers(0, 9)), max_size=20),
)
def test_any_roll_out_stays_within_its_bounds_and_converges(
    replicas: int, surge: Any, unavailable: Any, turns: list[tuple[str, int]]
) -> None:
    """Never more Pods than replicas + surge, no available Pod removed below the floor, and it ends with what is declared."""
    strategy = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    world = World(deployment_object(replicas, strategy=strategy))
    most = replicas
    for turn, number in turns:
        pods = world.all("Pod")
        if turn == "edit":
            roll_to(world, f"test/app:{number}")
        elif turn == "scale":
            deployment = world.one("Deployment", "d")
            deployment["spec"] = {**deployment["spec"], "replicas": number % 6}
            most = max(most, number % 6)
        elif pods:
            world.make_ready(pods[number % len(pods)], NOW, ready=turn == "ready")
        limits = bounds(world.one("Deployment", "d")["spec"])
        before = available(world)
        world.settle(NOW)
        assert len(world.all("Pod")) <= most + bounds({**world.one("Deployment", "d")["spec"], "replicas": most}).surge
        if turn != "scale":
            assert available(world) >= min(before, limits.replicas - limits.unavailable)
    for _ in range(30):
        world.settle(NOW)
        for pod in world.all("Pod"):
            world.make_ready(pod, NOW)
    deployment = world.one("Deployment", "d")
    wanted = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert images(world) == [wanted] * deployment["spec"]["replicas"]
    assert world.plan(NOW) == []
    assert conditions(world)["Progressing"] == ("True", "NewReplicaSetAvailable")


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (4, "25%", "25%", (1, 1)),
        (1, "25%", "25%", (1, 0)),
        (10, 3, "30%", (3, 3)),
        (3, 0, 0, (0, 1)),
        (2, 0, "50%", (0, 1)),
    ],
)
def test_shares_are_rounded_as_kubernetes_does(
    replicas: int, surge: Any, unavailable: Any, expected: tuple[int, int]
) -> None:
    spec = {"replicas": replicas, "strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}
    found = bounds(spec)
    assert (found.surge, found.unavailable) == expected


def test_broken_old_pods_go_before_healthy_ones() -> None:
    def generation(name: str, replicas: int, available_count: int) -> Generation:
        obj = {"metadata": {"name": name}}
        return Generation(obj, replicas, replicas, replicas, available_count, available_count)

    spec = {"replicas": 4, "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}}
    sizes = rolling_sizes(generation("new", 0, 0), [generation("broken", 1, 0), generation("old", 4, 4)], bounds(spec))
    assert sizes == {"broken": 0, "old": 3}


def test_a_pod_that_fails_after_the_roll_out_does_not_restart_the_deadline() -> None:
    deployment = deployment_object(1)
    done = Counts(desired=1, minimum=1, total=1, wanted=1, updated=1, ready=1, available=1, new_name="d-x")
    deployment["status"] = render_deployment_status(deployment, done, Moment(NOW))
    failing = Counts(desired=1, minimum=1, total=1, wanted=1, updated=1, ready=0, available=0, new_name="d-x")
    later = render_deployment_status(deployment, failing, Moment(NOW + 10_000))
    progressing = next(item for item in later["conditions"] if item["type"] == "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("True", "NewReplicaSetAvailable")


def test_pods_of_others_are_left_alone() -> None:
    stranger = pod_object("stranger", metadata={"labels": {"app": "d"}})
    world = World(deployment_object(1), stranger)
    world.settle(NOW)
    assert world.one("Pod", "stranger") == stranger
    assert len(world.all("Pod")) == 2
