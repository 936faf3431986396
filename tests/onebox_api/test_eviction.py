"""Evicting a Pod through the API, with and without a budget that allows it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.onebox.api.rules import check_budget
from tests.onebox_api.conftest import ApiProcess

READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
EVICTION = {"apiVersion": "policy/v1", "kind": "Eviction"}


def create(api: ApiProcess, obj: dict[str, Any], status: dict[str, Any]) -> None:
    api.kubectl("create", "-f", "-", stdin=json.dumps(obj))
    words = ("patch", obj["kind"].lower(), obj["metadata"]["name"], "--subresource=status", "--type=merge")
    api.kubectl(*words, "-p", json.dumps({"status": status}))


def pod(api: ApiProcess, name: str, *, status: dict[str, Any] = READY) -> None:
    meta = {"name": name, "labels": {"app": "web"}}
    spec = {"containers": [{"name": "main", "image": "x:1"}]}
    create(api, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}, status)


def budget(api: ApiProcess, name: str = "web", **status: int) -> None:
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    obj = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}
    create(api, obj, {"observedGeneration": 1, "currentHealthy": 2, "desiredHealthy": 1, **status})


def evict(api: ApiProcess, name: str) -> str:
    body = json.dumps({**EVICTION, "metadata": {"name": name, "namespace": "default"}})
    return api.kubectl("create", "--raw", f"/api/v1/namespaces/default/pods/{name}/eviction", "-f", "-", stdin=body, check=False)  # fmt: skip


def pods(api: ApiProcess) -> list[str]:
    return api.kubectl("get", "pods", "-o", "name").split()


def test_a_budget_allows_as_many_evictions_as_its_status_says(api: ApiProcess):
    for name in ("a", "b"):
        pod(api, name)
    budget(api, disruptionsAllowed=1, expectedPods=2)
    assert "Success" in evict(api, "a")
    status = json.loads(api.kubectl("get", "pdb", "web", "-o", "json"))["status"]
    assert (status["disruptionsAllowed"], list(status["disruptedPods"])) == (0, ["a"])
    refused = evict(api, "b")
    assert "Cannot evict pod as it would violate the pod's disruption budget." in refused
    assert pods(api) == ["pod/b"]


def test_a_pod_that_is_over_or_of_no_budget_is_evicted(api: ApiProcess):
    budget(api, disruptionsAllowed=0, expectedPods=2)
    pod(api, "over", status={"phase": "Succeeded"})
    assert "Success" in evict(api, "over")
    pod(api, "sick", status={"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]})
    assert "Success" in evict(api, "sick")  # enough others are healthy
    assert pods(api) == []


def test_two_budgets_of_one_pod_are_refused(api: ApiProcess):
    pod(api, "a")
    budget(api, "one", disruptionsAllowed=1)
    budget(api, "two", disruptionsAllowed=1)
    assert "more than one PodDisruptionBudget" in evict(api, "a")
    assert pods(api) == ["pod/a"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"minAvailable": 1, "maxUnavailable": 1}, "spec"),
        ({"minAvailable": -1}, "spec.minAvailable"),
        ({"maxUnavailable": "101%"}, "spec.maxUnavailable"),
        ({"maxUnavailable": "many"}, "spec.maxUnavailable"),
        ({"unhealthyPodEvictionPolicy": "Never"}, "spec.unhealthyPodEvictionPolicy"),
    ],
)
def test_budgets_that_kubernetes_refuses_are_refused(spec: dict[str, Any], field: str):
    assert [cause.field for cause in check_budget({"spec": spec}, None)] == [field]


@pytest.mark.parametrize("spec", [{}, {"minAvailable": "100%"}, {"maxUnavailable": 0}])
def test_other_budgets_are_taken(spec: dict[str, Any]):
    assert not check_budget({"spec": spec}, None)
