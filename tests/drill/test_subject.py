"""The SeldonDeployment of the drills, and the drills themselves."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.contract.admission import review
from slipway.drill.drills import DRILLS, SWITCHES, chosen
from slipway.drill.subject import DETECTOR, LIVE, NAME, Subject, path, without_retries

VARIANTS = (
    Subject(),
    Subject(replicas=1, uses_following=True),
    Subject(is_broken=True, try_s=2),
    Subject(canary=0),
    Subject(canary=25, without=frozenset(SWITCHES)),
    Subject(has_shadow=True),
    Subject(has_shadow=True, without=frozenset({"shadow"}), in_flight=4),
)


def predictor(subject: Subject, name: str = LIVE) -> dict[str, Any]:
    (found,) = [item for item in subject.manifest()["spec"]["predictors"] if item["name"] == name]
    return dict(found)


def containers(subject: Subject) -> list[dict[str, Any]]:
    return list(predictor(subject)["componentSpecs"][0]["spec"]["containers"])


@pytest.mark.parametrize("subject", VARIANTS)
def test_manifest_is_admitted(subject: Subject) -> None:
    assert review(subject.manifest()) == []


def test_manifest_follows_what_is_asked_for() -> None:
    assert predictor(Subject())["replicas"] == 2
    assert predictor(Subject(canary=25))["traffic"] == 75
    assert "models:/shapes/2" in str(predictor(Subject(uses_following=True))["graph"])
    assert Subject().manifest()["spec"]["annotations"] == {}
    assert Subject(try_s=2).manifest()["spec"]["annotations"]["seldon.io/istio-retries-timeout"] == "2"
    broken = {item["name"]: item.get("command") for item in containers(Subject(is_broken=True))}
    assert [name for name, command in broken.items() if command] == [DETECTOR]


def test_shadow_is_switched_off_by_giving_it_requests() -> None:
    assert predictor(Subject(has_shadow=True), "next")["shadow"] is True
    off = predictor(Subject(has_shadow=True, without=frozenset({"shadow"})), "next")
    assert (off.get("shadow"), off["traffic"]) == (None, 50)


def test_drain_is_switched_off_in_every_node() -> None:
    for item in containers(Subject(without=frozenset({"drain"}))):
        assert {"name": "SLIPWAY_DRAIN_SECONDS", "value": "0"} in item["env"]
    assert [item["env"] for item in containers(Subject())] == [[], []]


def test_limit_is_the_gateways_and_the_executors_and_can_be_switched_off() -> None:
    limit = [{"name": "SLIPWAY_MAX_IN_FLIGHT", "value": "4"}]
    assert predictor(Subject(in_flight=4))["svcOrchSpec"]["env"] == limit
    assert Subject(in_flight=4).manifest()["spec"]["annotations"] == {"slipway.dev/max-requests": "4"}
    off = Subject(in_flight=4, without=frozenset({"limits"}))
    assert predictor(off)["svcOrchSpec"]["env"] == []
    assert off.manifest()["spec"]["annotations"] == {}
    assert predictor(Subject())["svcOrchSpec"]["env"] == []


def test_way_without_retries_leads_to_the_same_predictors() -> None:
    service = {
        "apiVersion": "networking.istio.io/v1",
        "metadata": {"name": NAME, "resourceVersion": "7"},
        "spec": {
            "hosts": ["*"],
            "gateways": ["istio-system/seldon-gateway"],
            "http": [
                {"match": [{"uri": {"regex": "/seldon/a/b/feedback"}}], "retries": {"attempts": 0}, "route": []},
                {
                    "match": [{"uri": {"prefix": "/seldon/a/b/"}}],
                    "rewrite": {"uri": "/"},
                    "route": [{"destination": {"host": "drill-main"}, "weight": 100}],
                },
                {"match": [{"uri": {"regex": ".*"}}], "route": []},
            ],
        },
    }
    (route,) = without_retries(service)["spec"]["http"]
    assert route["route"] == service["spec"]["http"][1]["route"]
    assert route["retries"] == {"attempts": 0}
    assert route["rewrite"] == {"uri": "/"}
    assert path(frozenset({"retries"})).startswith(route["match"][0]["uri"]["prefix"])
    assert path() != path(frozenset({"retries"}))


def test_every_drill_has_a_control_that_is_a_switch() -> None:
    for drill in DRILLS:
        assert drill.control
        assert drill.control <= SWITCHES.keys()
    assert len({drill.name for drill in DRILLS}) == len(DRILLS)


def test_drills_are_chosen_by_name() -> None:
    assert chosen([]) == DRILLS
    assert [drill.name for drill in chosen(["executor", "pod"])] == ["pod", "executor"]
    with pytest.raises(ValueError, match="pdo: there are pod, executor"):
        chosen(["pdo"])
