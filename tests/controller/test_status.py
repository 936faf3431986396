"""The status of a SeldonDeployment (contract 2.7)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.plan import key_of
from slipway.controller.status import Observed, effective, failed, status_of
from tests.contract.manifests import Manifest, component, predictor, sdep
from tests.controller.cases import SETTINGS

FACTS = Facts(SETTINGS)
READY = {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
UNREADY = {"replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1}
GAVE_UP = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too slow"}]
CANARY = sdep(predictor("a", traffic=90), predictor("b", traffic=10))


def pod(app: str, waiting: str, message: str = "", *, last: str = "") -> dict[str, Any]:
    container = {
        "name": "clf",
        "state": {"waiting": {"reason": waiting, "message": message}},
        "lastState": {"terminated": {"message": last}} if last else {},
    }
    return {"metadata": {"labels": {"app": app}}, "status": {"containerStatuses": [container]}}


def status(
    manifest: Manifest, statuses: dict[str, Any], *, pods: tuple[Any, ...] = (), old: Any = None, now: str = "t1"
) -> Any:
    item = SeldonDeployment.from_json(manifest)
    objects = {key_of(obj): obj for obj in desired(item, FACTS)}
    for (kind, name), obj in objects.items():
        if kind == "Deployment":
            obj["status"] = statuses.get(name, READY)
    return status_of(item, FACTS, Observed(objects, pods), models=[], now=now, old=old or {})


def test_state_is_available_when_every_deployment_is():
    found = status(CANARY, {})
    assert (found["state"], found["observedGeneration"]) == ("Available", 1)
    assert "description" not in found
    assert found["deploymentStatus"]["iris-a-0-clf"] == {"replicas": 1, "availableReplicas": 1}
    assert found["serviceStatus"]["iris-a"] == {
        "svcName": "iris-a",
        "httpEndpoint": "iris-a.team:8000",
        "grpcEndpoint": "iris-a.team:5001",
    }


def test_state_is_creating_while_one_is_not_and_the_predictor_says_why():
    crash = pod("iris-b-0-clf", "CrashLoopBackOff", "back-off 10s", last="ValueError: bad weights")
    found = status(CANARY, {"iris-b-0-clf": UNREADY}, pods=(crash,))
    assert found["state"] == "Creating"
    assert found["predictors"] == [
        {"name": "a", "ready": True},
        {"name": "b", "ready": False, "reason": "CrashLoopBackOff", "lastError": "clf: ValueError: bad weights"},
    ]


def test_failed_initializer_is_the_predictors_last_error():
    """Also in the moment between its end and the next start, when nothing waits yet."""
    ended = {"exitCode": 1, "reason": "Error", "message": "refused: models:/m/1: expected sha256:1, found sha256:2"}
    crash = pod("iris-b-0-clf", "PodInitializing")
    crash["status"]["initContainerStatuses"] = [
        {"name": "before", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
        {"name": "clf-model-initializer", "state": {"terminated": ended}},
    ]
    found = status(CANARY, {"iris-b-0-clf": UNREADY}, pods=(crash,))
    assert found["predictors"][1]["reason"] == "Error"
    assert found["predictors"][1]["lastError"] == f"clf-model-initializer: {ended['message']}"


@pytest.mark.parametrize(
    "state", [{"running": {"startedAt": "2026-01-01T00:00:00Z"}}, {"waiting": {"reason": "PodInitializing"}}]
)
def test_last_error_stays_while_the_container_tries_again(state):
    """An initializer that refuses a model is started again at once, and says the same only when it ends again."""
    ended = {"exitCode": 1, "reason": "Error", "message": "a pickle runs code when it is loaded"}
    crash = pod("iris-b-0-clf", "PodInitializing")
    again = {"name": "clf-model-initializer", "state": state, "lastState": {"terminated": ended}, "ready": False}
    crash["status"]["initContainerStatuses"] = [again]
    found = status(CANARY, {"iris-b-0-clf": UNREADY}, pods=(crash,))
    assert found["predictors"][1]["lastError"] == f"clf-model-initializer: {ended['message']}"
    again["ready"] = True
    found = status(CANARY, {"iris-b-0-clf": UNREADY}, pods=(crash,))
    assert "lastError" not in found["predictors"][1], "what is over is no reason"


def test_pod_without_a_place_says_so():
    waiting = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room"}
    lost = {"metadata": {"labels": {"app": "iris-b-0-clf"}}, "status": {"conditions": [waiting]}}
    found = status(CANARY, {"iris-b-0-clf": UNREADY}, pods=(lost,))
    assert found["predictors"][1] == {"name": "b", "ready": False, "reason": "Unschedulable", "lastError": "no room"}


def test_reason_of_another_predictors_pod_is_not_taken():
    found = status(CANARY, {"iris-b-0-clf": UNREADY}, pods=(pod("iris-a-0-clf", "ErrImagePull"),))
    assert "reason" not in found["predictors"][1]


def test_state_is_failed_with_the_sentence_of_a_deployment_that_gave_up():
    found = status(CANARY, {"iris-b-0-clf": {**UNREADY, "conditions": GAVE_UP}})
    assert found["state"] == "Failed"
    assert found["description"] == "b: iris-b-0-clf: too slow"


def test_condition_keeps_its_time_until_it_changes():
    first = status(CANARY, {"iris-b-0-clf": UNREADY}, now="t1")
    second = status(CANARY, {}, now="t2", old=first)
    times = {item["type"]: item["lastTransitionTime"] for item in second["conditions"]}
    assert (times["DeploymentsReady"], times["ServicesReady"]) == ("t2", "t1")
    assert status(CANARY, {}, now="t3", old=second) == second


def test_traffic_is_declared_and_effective():
    assert status(CANARY, {"iris-b-0-clf": UNREADY})["traffic"] == {
        "declared": {"a": 90, "b": 10},
        "effective": {"a": 100, "b": 0},
    }
    assert status(sdep(), {})["traffic"] == {"declared": {"main": 100}, "effective": {"main": 100}}


@pytest.mark.parametrize(("least", "share"), [(0, 10), (1, 0)])
def test_predictor_that_may_rest_keeps_its_share(least: int, share: float) -> None:
    """Its requests come to it while no Pod is there, and wake it."""
    keda = {"minReplicaCount": least, "triggers": [{"type": "cpu", "metadata": {"value": "80"}}]}
    manifest = sdep(
        predictor("a", traffic=90), predictor("b", traffic=10, componentSpecs=[component("clf", kedaSpec=keda)])
    )
    found = status(manifest, {"iris-b-0-clf": {}})["traffic"]["effective"]
    assert found == {"a": 100 - share, "b": share}


def test_the_split_is_one_text_for_a_column():
    assert status(CANARY, {})["split"] == "a 90, b 10"
    assert status(sdep(), {})["split"] == "main 100"
    dark = sdep(predictor("b", traffic=100), predictor("a", traffic=0), predictor("dark", shadow=True, traffic=50))
    assert status(dark, {})["split"] == "b 100, a 0, dark shadow"


def test_shadow_has_no_part_of_the_traffic():
    manifest = sdep(predictor("a"), predictor("dark", shadow=True, traffic=50))
    assert status(manifest, {})["traffic"]["declared"] == {"a": 100}


def test_failed_keeps_what_was_known():
    item = SeldonDeployment.from_json(sdep())
    found = failed(
        item, "no such alias", now="2026-01-01T00:00:00Z", old={"state": "Available", "models": [1], "replicas": 2}
    )
    assert found == {
        "state": "Failed",
        "description": "no such alias",
        "observedGeneration": 1,
        "models": [1],
        "replicas": 2,
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
                "reason": "Failed",
                "message": "no such alias",
            }
        ],
    }


def test_failed_turns_ready_false_and_leaves_the_other_conditions():
    item = SeldonDeployment.from_json(sdep())
    old = {
        "conditions": [
            {"type": "DeploymentsReady", "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"},
        ]
    }
    first = failed(item, "no such alias", now="2026-01-01T00:00:00Z", old=old)["conditions"]
    assert [(item["type"], item["status"], item["lastTransitionTime"][:4]) for item in first] == [
        ("DeploymentsReady", "True", "2025"),
        ("Ready", "False", "2026"),
    ]
    later = failed(item, "no such alias", now="2027-01-01T00:00:00Z", old={"conditions": first})["conditions"]
    assert later == first


@pytest.mark.parametrize(
    ("protocol", "path"),
    [("seldon", "/api/v1.0/predictions"), ("tensorflow", "/v1/models/clf:predict"), ("v2", "/v2/models/clf/infer")],
)
def test_address_is_of_the_first_predictor_and_its_protocol(protocol, path):
    manifest = sdep(predictor("a", traffic=100), predictor("b", traffic=0), protocol=protocol)
    assert status(manifest, {})["address"]["url"] == f"http://iris-a.team.svc.cluster.local:8000{path}"


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 100), min_size=1),
    st.dictionaries(st.sampled_from("abcd"), st.booleans()),
)
def test_effective_traffic_is_all_or_nothing_and_never_of_what_is_unready(declared, serving):
    found = effective(declared, serving)
    assert found.keys() == declared.keys()
    assert all(share == 0 for name, share in found.items() if not serving.get(name) or not declared[name])
    assert sum(found.values()) == pytest.approx(100, abs=0.3) or not any(found.values())
