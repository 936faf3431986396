"""What a workload adopts, lets go of, replaces slowly, and how much it does at a time."""

from __future__ import annotations

from typing import Any, cast

import pytest

from slipway.kube.client import Kube
from slipway.kube.errors import NotFound
from slipway.kube.kinds import DEPLOYMENT, POD, REPLICA_SET, Kind
from slipway.kube.reflector import Reflector
from slipway.onebox.runner.cache import Cache
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.jobs import plan_job, retry_at
from slipway.onebox.runner.moments import Moment, time_text
from slipway.onebox.runner.ownership import claim
from slipway.onebox.runner.replica_sets import FORGOTTEN_AFTER_S, KEPT_ENDED, next_try_at
from slipway.onebox.runner.workload_steps import (
    MAX_BURST,
    Change,
    Create,
    Delete,
    free_names,
    owner_reference,
)
from slipway.onebox.runner.workload_writes import Writes
from tests.onebox_runner.objects import NOW, deployment_object, pod_object, running_pod
from tests.onebox_runner.workload_world import World, end, job_object


def orphan(world: World, kind: str) -> None:
    """As ``kubectl delete --cascade=orphan`` of its owner leaves it."""
    for obj in world.all(kind):
        obj["metadata"] = {key: value for key, value in obj["metadata"].items() if key != "ownerReferences"}


def test_deployment_adopts_the_replica_set_that_an_earlier_one_left() -> None:
    world = World(deployment_object(2))
    world.settle(NOW)
    (before,) = [item["metadata"]["uid"] for item in world.all("ReplicaSet")]
    pods = {item["metadata"]["uid"] for item in world.all("Pod")}
    orphan(world, "ReplicaSet")
    del world.objects["Deployment", "d"]
    world.settle(NOW)
    again = deployment_object(2)
    again["metadata"]["uid"] = "uid-again"
    world.objects["Deployment", "d"] = again
    world.settle(NOW)
    (after,) = world.all("ReplicaSet")
    assert (after["metadata"]["uid"], after["metadata"]["ownerReferences"]) == (before, [owner_reference(again)])
    assert {item["metadata"]["uid"] for item in world.all("Pod")} == pods


def test_replica_set_of_somebody_else_s_does_not_stop_a_deployment() -> None:
    world = World(deployment_object(1))
    world.settle(NOW)
    (taken,) = world.all("ReplicaSet")
    taken["metadata"] = {**taken["metadata"], "labels": {"app": "other"}, "ownerReferences": []}
    world.settle(NOW)
    names = [item["metadata"]["name"] for item in world.all("ReplicaSet")]
    assert len(names) == 2
    assert taken["metadata"]["name"] in names


def test_pod_whose_labels_no_longer_match_is_let_go_and_replaced() -> None:
    world = World(deployment_object(2))
    world.settle(NOW)
    held = world.all("Pod")[0]
    held["metadata"] = {**held["metadata"], "labels": {"app": "quarantine"}}
    world.settle(NOW)
    assert len(world.all("Pod")) == 3
    assert "ownerReferences" not in world.one("Pod", held["metadata"]["name"])["metadata"]
    (replica_set,) = world.all("ReplicaSet")
    back = world.one("Pod", held["metadata"]["name"])
    back["metadata"] = {**back["metadata"], "labels": replica_set["spec"]["selector"]["matchLabels"]}
    world.settle(NOW)
    assert len(world.all("Pod")) == 2
    assert all(item["metadata"]["ownerReferences"] == [owner_reference(replica_set)] for item in world.all("Pod"))


def test_claims_leave_what_others_control_and_what_is_going() -> None:
    owner = {**deployment_object(), "kind": "ReplicaSet"}
    other = {**owner, "metadata": {**owner["metadata"], "uid": "uid-other"}}
    labels = {"labels": {"app": "d"}}
    theirs = running_pod("theirs", other, ready=True)
    theirs["metadata"] |= labels
    going = pod_object("going", metadata={**labels, "deletionTimestamp": time_text(NOW)})
    free = pod_object("free", metadata={**labels, "resourceVersion": "7"})
    mine, steps = claim(owner, POD, [theirs, going, free])
    assert mine == [free]
    (step,) = steps
    assert isinstance(step, Change)
    assert (step.obj, step.is_adoption) == (free, True)
    assert step.patch["metadata"]["resourceVersion"] == "7", "onto the version that was read"


class Api:
    """Plays the API of ``Writes``; ``live`` is the owner as it is now."""

    def __init__(self, live: dict[str, Any] | None) -> None:
        self.live = live
        self.patched: list[str] = []

    async def get(self, kind: Kind, name: str, **_: Any) -> dict[str, Any]:
        assert (kind, name) == (DEPLOYMENT, "d")
        if self.live is None:
            raise NotFound({"message": "not found"})
        return self.live

    async def patch(self, kind: Kind, name: str, body: Any, **_: Any) -> dict[str, Any]:
        self.patched.append(name)
        return {"metadata": {**body["metadata"], "name": name, "namespace": "default", "resourceVersion": "2"}}


class Nothing:
    def objects(self, _: Kind) -> dict[Any, Any]:
        return {}

    def record(self, *_: Any, **__: Any) -> None:
        pass


GOING = {**deployment_object(), "metadata": {**deployment_object()["metadata"], "deletionTimestamp": time_text(NOW)}}
ANOTHER = {**deployment_object(), "metadata": {**deployment_object()["metadata"], "uid": "uid-another"}}


@pytest.mark.parametrize(
    ("live", "patched"), [(deployment_object(), ["r", "r"]), (GOING, []), (ANOTHER, []), (None, [])]
)
async def test_nothing_is_adopted_for_an_owner_that_is_gone_although_the_watch_still_shows_it(
    live: dict[str, Any] | None, patched: list[str]
) -> None:
    """What orphans a ReplicaSet deletes its owner too; which of the two watches tells first is chance."""
    api, nothing = Api(live), Nothing()
    writes = Writes(cast(Kube, api), Cache(cast(Reflector, nothing)), cast(Events, nothing), lambda pod: pod)
    left = {
        "kind": "ReplicaSet",
        "metadata": {"name": "r", "namespace": "default", "uid": "u"},
        "spec": {"replicas": 1},
    }
    adoption = Change(REPLICA_SET, left, {"metadata": {"ownerReferences": []}}, "", is_adoption=True)
    done = await writes.apply(deployment_object(), [adoption, Change(REPLICA_SET, left, {"spec": {"replicas": 0}}, "")])
    assert (done, api.patched) == (bool(patched), patched)


def test_pods_that_end_by_themselves_are_replaced_ever_more_slowly_and_do_not_pile_up() -> None:
    world, now, made = World(deployment_object(1)), NOW, 0
    while now < NOW + 3600:
        world.settle(now)
        for pod in world.all("Pod"):
            if "status" not in pod:
                end(pod, "Failed", now)
                made += 1
        world.settle(now)
        assert len(world.all("Pod")) <= KEPT_ENDED + 1
        now += 5
    assert 12 <= made <= 18  # after 10 s, 20 s … 320 s, and every 320 s
    (replica_set,) = world.all("ReplicaSet")
    assert now - 5 < next_try_at(replica_set, world.all("Pod"), Moment(now)) < now + 360
    deployment = world.one("Deployment", "d")
    deployment["spec"] = {**deployment["spec"], "replicas": 0}
    world.settle(now)
    assert world.all("Pod") == []


def test_pods_that_ended_long_ago_are_forgotten() -> None:
    world = World(deployment_object(1))
    world.settle(NOW)
    end(world.all("Pod")[0], "Succeeded", NOW)
    world.settle(NOW)
    assert len(world.all("Pod")) == 1
    world.settle(NOW + 10)
    assert len(world.all("Pod")) == 2
    world.settle(NOW + FORGOTTEN_AFTER_S)
    assert len(world.all("Pod")) == 1


@pytest.mark.parametrize(("limit", "restarts", "fails"), [(0, 0, False), (0, 1, True), (2, 1, False), (2, 2, True)])
def test_restarts_of_an_on_failure_job_count_against_its_limit(limit: int, restarts: int, *, fails: bool) -> None:
    job = job_object(backoffLimit=limit)
    job["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    world = World(job)
    world.settle(NOW)
    (pod,) = world.all("Pod")
    shown = [{"name": "main", "restartCount": restarts, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
    pod["status"] = {"phase": "Running", "containerStatuses": shown}
    world.settle(NOW)
    conditions = world.one("Job", "j")["status"].get("conditions") or []
    assert [(item["type"], item["reason"]) for item in conditions] == [("Failed", "BackoffLimitExceeded")] * fails
    assert bool(world.all("Pod")) is not fails


def test_huge_workloads_are_made_and_ended_a_few_pods_at_a_time() -> None:
    job = job_object(parallelism=10**9, completions=10**9)
    world = World(job)
    steps = world.plan(NOW)
    assert sum(isinstance(step, Create) for step in steps) == MAX_BURST
    for _ in range(4):
        world.apply(world.plan(NOW))
    assert len(world.all("Pod")) == 4 * MAX_BURST, "names made at one time differ"
    world.one("Job", "j")["spec"] = {**job["spec"], "activeDeadlineSeconds": 5}
    steps = plan_job(world.one("Job", "j"), world.all("Pod"), Moment(NOW + 5))
    assert sum(isinstance(step, Delete) for step in steps) == MAX_BURST
    world.settle(NOW + 5)
    assert world.all("Pod") == [], "also after the Job is said to have failed"
    assert retry_at(world.one("Job", "j"), [], Moment(NOW + 5)) is None

    world = World(deployment_object(10**9))
    for _ in range(3):
        world.apply(world.plan(NOW))
    assert len(world.all("Pod")) == 2 * MAX_BURST
    world.one("Deployment", "d")["spec"] = {**deployment_object()["spec"], "replicas": 0}
    world.apply(world.plan(NOW))
    assert sum(isinstance(step, Delete) for step in world.plan(NOW)) == MAX_BURST
    world.settle(NOW)
    assert world.all("Pod") == []


def test_free_names_never_repeat_and_take_one_try_each() -> None:
    names = free_names("p" * 80, "seed", frozenset())
    found = [next(names) for _ in range(3000)]
    assert len(set(found)) == len(found)
    assert {len(name) for name in found} == {63}
    taken = set(found[:-1])
    assert next(free_names("p" * 80, "seed", taken)) == found[-1]
