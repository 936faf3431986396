"""What the benchmark of the first answer reads from objects, and how stages add up."""

from __future__ import annotations

from typing import Any

from benchmarks.first_answer import STAGES, canary, seen, stages
from benchmarks.onebox import trivial_deployment
from slipway.contract.admission import review
from slipway.contract.predictor_servers import SHIPPED
from slipway.kube.kinds import DEPLOYMENT, ENDPOINT_SLICE, POD

READY = {"conditions": [{"type": "Ready", "status": "True"}]}
RUNNING = {"containerStatuses": [{"name": "model", "state": {"running": {}}}]}


def _objects(*pods: dict[str, Any], ready: bool | None = None) -> dict[Any, list[dict[str, Any]]]:
    endpoints = [] if ready is None else [{"conditions": {"ready": ready}}]
    return {DEPLOYMENT: [{}], POD: [{"status": pod} for pod in pods], ENDPOINT_SLICE: [{"endpoints": endpoints}]}


def test_stages_are_seen_in_the_objects() -> None:
    assert seen({DEPLOYMENT: [], POD: [], ENDPOINT_SLICE: []}, 1) == set()
    assert seen(_objects({}), 1) == {"Deployment", "Pod"}
    assert seen(_objects(RUNNING, ready=False), 1) == {"Deployment", "Pod", "started"}
    assert seen(_objects({**RUNNING, **READY}, ready=True), 1) == {*STAGES, "all ready"} - {"applied", "answer"}
    assert "all ready" not in seen(_objects({**RUNNING, **READY}, RUNNING), 2)


def test_stages_add_up_to_the_answer_whatever_order_the_watch_showed() -> None:
    marks = {"applied": 5.0, "Deployment": 30.0, "Pod": 20.0, "started": 60.0, "answer": 100.0}
    took = stages([marks])
    assert sum(took.values()) == 100.0
    assert took["Pod"] == 0.0


def test_manifests_are_ones_that_the_api_takes() -> None:
    for manifest in (trivial_deployment("first"), canary()):
        assert not review(manifest, predictor_servers=SHIPPED)
