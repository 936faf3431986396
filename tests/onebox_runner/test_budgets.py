"""How many Pods of a PodDisruptionBudget may be evicted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.runner.budgets import plan_budget
from slipway.onebox.runner.moments import Moment, time_text
from slipway.onebox.runner.workload_steps import Change
from tests.onebox_runner.objects import NOW, deployment_object, running_pod

LABELS = {"app": "d"}


def budget(*, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    meta = {"name": "b", "namespace": "default", "uid": "uid-b", "generation": 3}
    found = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta}
    return {**found, "spec": {"selector": {"matchLabels": LABELS}, **spec}, "status": status or {}}


def world(replicas: int, ready: int, *, there: int | None = None) -> dict[str, list[dict[str, Any]]]:
    deployment = deployment_object(replicas)
    reference = {"kind": "Deployment", "name": "d", "uid": "uid-d", "controller": True}
    owned: dict[str, Any] = {"name": "d-1", "namespace": "default", "uid": "uid-rs", "ownerReferences": [reference]}
    replica_set = {"kind": "ReplicaSet", "metadata": owned, "spec": {"replicas": replicas}}
    pods = [
        running_pod(f"p{index}", replica_set, ready=index < ready)
        for index in range(replicas if there is None else there)
    ]
    for pod in pods:
        pod["metadata"]["labels"] = LABELS
    return {"pods": pods, "replica_sets": [replica_set], "deployments": [deployment]}


def status(obj: dict[str, Any], **objects: Any) -> dict[str, Any]:
    (step,) = plan_budget(obj, **objects, now=Moment(NOW))
    assert isinstance(step, Change)
    assert step.subresource == "status"
    return dict(step.patch["status"])


@pytest.mark.parametrize(
    ("spec", "replicas", "ready", "allowed"),
    [
        ({"minAvailable": 2}, 3, 3, 1),
        ({"minAvailable": 2}, 3, 2, 0),
        ({"minAvailable": "50%"}, 3, 3, 1),  # of 3 two must stay
        ({"maxUnavailable": 1}, 3, 3, 1),
        ({"maxUnavailable": 1}, 3, 2, 0),
        ({"maxUnavailable": "50%"}, 3, 3, 2),  # rounded up, as in Kubernetes
        ({"maxUnavailable": 0}, 3, 3, 0),
        ({"minAvailable": 0}, 3, 3, 3),
    ],
)
def test_as_many_may_go_as_the_budget_leaves(spec: dict[str, Any], replicas: int, ready: int, allowed: int):
    found = status(budget(**spec), **world(replicas, ready))
    assert (found["disruptionsAllowed"], found["currentHealthy"], found["expectedPods"]) == (allowed, ready, replicas)
    (condition,) = found["conditions"]
    assert condition["reason"] == ("SufficientPods" if allowed else "InsufficientPods")


def test_pods_of_a_deployment_that_is_scaled_up_are_expected_already():
    assert status(budget(maxUnavailable=1), **world(5, 3, there=3))["disruptionsAllowed"] == 0


def test_a_selector_that_finds_nothing_allows_nothing():
    assert status(budget(minAvailable=0), **world(0, 0))["disruptionsAllowed"] == 0
    nobody = budget(minAvailable=0)
    del nobody["spec"]["selector"]
    assert status(nobody, **world(3, 3))["expectedPods"] == 0


def test_an_evicted_pod_counts_as_gone_until_it_is_or_too_long_has_passed():
    for at, allowed in ((NOW - 1, 0), (NOW - 119, 0), (NOW - 121, 1)):  # Kubernetes' DeletionTimeout is 2 minutes
        obj = budget(minAvailable=2, status={"disruptedPods": {"p0": time_text(at), "other": time_text(at)}})
        found = status(obj, **world(3, 3))
        assert found["disruptionsAllowed"] == allowed
        assert found["disruptedPods"]["other"] is None
        assert (found["disruptedPods"]["p0"] is None) is bool(allowed)


@given(st.integers(0, 6), st.integers(0, 6), st.one_of(st.integers(0, 7), st.sampled_from(["0%", "30%", "100%"])))
def test_a_second_look_changes_nothing_and_the_floor_is_kept(replicas: int, ready: int, least: Any):
    objects, obj = world(replicas, min(ready, replicas)), budget(minAvailable=least)
    found = status(obj, **objects)
    assert found["disruptionsAllowed"] <= max(0, found["currentHealthy"] - found["desiredHealthy"])
    settled = {**obj, "status": {key: value for key, value in found.items() if value != {}}}
    assert plan_budget(settled, **objects, now=Moment(NOW + 60)) == []
