"""Weights for Istio: a predictor that is not ready gets nothing, whoever is to have nothing neither."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.plan import key_of
from slipway.controller.status import Observed, status_of
from slipway.controller.traffic import traffic
from slipway.controller.weights import ready_predictors, weights
from tests.contract.manifests import component, predictor, sdep
from tests.controller.cases import SETTINGS

NAMES = ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("declared", "ready", "wanted"),
    [
        ({"a": 90, "b": 10}, "ab", {"a": 90, "b": 10}),
        ({"a": 90, "b": 10}, "a", {"a": 100, "b": 0}),
        ({"a": 90, "b": 10}, "b", {"a": 0, "b": 100}),
        ({"a": 90, "b": 10}, "", {"a": 90, "b": 10}),
        ({"a": 100, "b": 0}, "b", {"a": 100, "b": 0}),  # 0 is exactly 0: who asks for nothing gets nothing
        ({"a": 60, "b": 30, "c": 10}, "bc", {"a": 0, "b": 75, "c": 25}),
        ({"a": 40, "b": 20, "c": 20, "d": 20}, "bcd", {"a": 0, "b": 34, "c": 33, "d": 33}),
    ],
)
def test_unready_predictors_share_is_the_others(declared: dict[str, int], ready: str, wanted: dict[str, int]) -> None:
    assert weights(declared, dict.fromkeys(ready, True)) == wanted


@given(
    st.lists(st.integers(0, 100), min_size=2, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_weights_are_whole_percent_of_those_that_are_ready(given_shares: list[int], flags: list[bool]) -> None:
    declared = dict(zip(NAMES, given_shares, strict=False))
    ready = dict(zip(NAMES, flags, strict=True))
    found = weights(declared, ready)
    live = {name: share for name, share in declared.items() if ready[name] and share}
    if not live:
        assert found == declared
        return
    assert sum(found.values()) == 100
    assert all(found[name] == 0 for name in declared.keys() - live.keys())
    total = sum(live.values())
    assert all(abs(found[name] - 100 * share / total) < 1 for name, share in live.items())


def pod(name: str, *, ready: bool = True, **meta: Any) -> dict[str, Any]:
    """Of the predictor ``name``."""
    conditions = [{"type": "Ready", "status": str(ready)}]
    labels = {"seldon-app": f"iris-{name}", "seldon-deployment-id": "iris"}
    return {"metadata": {"name": f"{name}-0", "labels": labels, **meta}, "status": {"conditions": conditions}}


@pytest.fixture
def canary() -> SeldonDeployment:
    return SeldonDeployment.from_json(sdep(predictor("a", traffic=90), predictor("b", traffic=10)))


@pytest.mark.parametrize(
    ("pods", "ready"),
    [
        ([], set()),
        ([pod("a"), pod("b")], {"a", "b"}),
        ([pod("a", ready=False), pod("b")], {"b"}),
        ([pod("a", deletionTimestamp="2026-11-22T00:00:00Z")], set()),
        ([pod("a", ready=False), pod("a")], {"a"}),
    ],
)
def test_ready_is_who_has_an_endpoint(canary: SeldonDeployment, pods: list[dict[str, Any]], ready: set[str]) -> None:
    owned = {key_of(obj): obj for obj in desired(canary, Facts(SETTINGS))}
    found = ready_predictors(canary, owned, pods)
    assert {name for name, value in found.items() if value} == ready
    assert not any(ready_predictors(canary, {}, pods).values()), "nothing leads to a Pod without a Service"


@pytest.mark.parametrize(
    ("scale", "wanted"),
    [
        ({"minReplicaCount": 0}, {"a": 90, "b": 10}),
        ({}, {"a": 90, "b": 10}),  # KEDA's default is 0
        ({"minReplicaCount": 2, "idleReplicaCount": 0}, {"a": 90, "b": 10}),
        ({"minReplicaCount": 1}, {"a": 100, "b": 0}),
    ],
)
def test_who_may_rest_keeps_its_share_as_nothing_else_would_wake_it(
    scale: dict[str, Any], wanted: dict[str, int]
) -> None:
    triggers = [{"type": "prometheus", "metadata": {}}]
    resting = component("clf", kedaSpec={"maxReplicaCount": 3, "triggers": triggers, **scale})
    made = SeldonDeployment.from_json(
        sdep(predictor("a", traffic=90), predictor("b", traffic=10, componentSpecs=[resting]))
    )
    owned = {key_of(obj): obj for obj in desired(made, Facts(SETTINGS))}
    facts = replace(Facts(SETTINGS), ready=ready_predictors(made, owned, [pod("a")]))
    *_, service = traffic(SETTINGS.defaulted(made), facts)
    for route in split_routes(service):
        assert {item["destination"]["subset"]: item["weight"] for item in route["route"]} == wanted
    told = status_of(made, facts, Observed(owned, [pod("a")]), models=[], now="2026-11-22T00:00:00Z", old={})
    assert told["traffic"]["effective"] == {name: float(share) for name, share in wanted.items()}


def split_routes(service: dict[str, Any]) -> list[dict[str, Any]]:
    """Those by the percentages: feedback and the rest, over REST and gRPC."""
    found = [route for route in service["spec"]["http"] if all("weight" in item for item in route["route"])]
    assert len(found) == 4
    return found


@pytest.mark.parametrize(
    ("ready", "wanted", "effective"),
    [
        (None, [90, 10], {"a": 0.0, "b": 0.0}),
        ({"a": True, "b": True}, [90, 10], {"a": 90.0, "b": 10.0}),
        ({"a": True, "b": False}, [100, 0], {"a": 100.0, "b": 0.0}),
        ({"a": False, "b": False}, [90, 10], {"a": 0.0, "b": 0.0}),
    ],
)
def test_written_weights_are_those_that_the_status_says(
    canary: SeldonDeployment, ready: dict[str, bool] | None, wanted: list[int], effective: dict[str, float]
) -> None:
    facts = replace(Facts(SETTINGS), ready=ready)
    *_, service = traffic(SETTINGS.defaulted(canary), facts)
    for route in split_routes(service):
        assert [item["weight"] for item in route["route"]] == wanted
    status = status_of(canary, facts, Observed({}), models=[], now="2026-11-22T00:00:00Z", old={})
    assert status["traffic"] == {"declared": {"a": 90, "b": 10}, "effective": effective}
