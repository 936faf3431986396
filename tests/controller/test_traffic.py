"""The annotations that say which callers meet which predictor, and how long and how often → Istio's objects."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.contract.admission import review
from slipway.contract.annotations import BUCKETS, MATCH, OUTLIER_ERRORS, RATE_LIMIT, STICKY, TIMEOUT
from slipway.contract.callers import parse_caller, parse_group
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.traffic import known_buckets, refused_traffic
from tests.contract.manifests import Manifest, predictor, sdep
from tests.controller.cases import SETTINGS
from tests.manifests.schemas import complain_of_definition

OWN = replace(SETTINGS, has_own_mesh=True)


def made(manifest: Manifest, **facts: Any) -> dict[tuple[str, str], Any]:
    found = desired(SeldonDeployment.from_json(manifest), Facts(OWN, **facts))
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in found}


def split(*shares: int, **annotations: str) -> Manifest:
    names = ("stable", "canary", "third")
    rows = [predictor(name, traffic=share) for name, share in zip(names, shares, strict=False)]
    return sdep(
        *rows, annotations={f"slipway.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
    )


def test_sticky_split_remembers_its_buckets_over_changes():
    known, told = "", []
    for shares in ((90, 10), (75, 25), (95, 5), (95, 5)):
        objects = made(split(*shares, sticky="header:x-user"), buckets=known)
        known = known_buckets(objects, SeldonDeployment.from_json(split(100)))
        told.append(known)
    assert told == [
        "stable=9000,canary=1000",
        "stable=7500,canary=2500",
        "stable=7500,canary=500,stable=2000",
        "stable=7500,canary=500,stable=2000",
    ]
    assert objects["VirtualService", "iris"]["metadata"]["annotations"][STICKY] == "header:x-user"


def test_shadow_has_no_buckets_and_a_split_by_chance_none_at_all():
    manifest = split(60, 40, sticky="cookie:uid")
    manifest["spec"]["predictors"].append(predictor("dark", traffic=50, shadow=True))
    annotations = made(manifest)["VirtualService", "iris"]["metadata"]["annotations"]
    assert annotations == {STICKY: "cookie:uid", BUCKETS: "stable=6000,canary=4000"}
    assert "annotations" not in made(split(60, 40))["VirtualService", "iris"]["metadata"]


def test_group_has_routes_of_its_own_before_the_split():
    manifest = split(100, 0)
    manifest["spec"]["predictors"][1]["annotations"] = {MATCH: "header:x-group=b"}
    routes = made(manifest)["VirtualService", "iris"]["spec"]["http"]
    routes = routes[4:]  # after the ways of feedback to whoever answered
    assert [[item["destination"]["subset"] for item in route["route"]] for route in routes] == [
        *[["canary"]] * 4, *[["stable", "canary"]] * 4,
    ]  # fmt: skip
    feedback, rest, _, grpc = (route["match"][0] for route in routes[:4])
    assert feedback["headers"] == rest["headers"]
    assert rest == {"uri": {"prefix": "/seldon/team/iris/"}, "headers": {"x-group": {"exact": "b"}}}
    assert grpc["headers"].keys() == {"seldon", "namespace", "x-group"}
    assert routes[1]["rewrite"] == {"uri": "/"}


@pytest.mark.parametrize(
    ("cookies", "is_meant"),
    [
        ("group=b.1", True), ("a=1; group=b.1", True), ("group=b.1; z=2", True), ("a=1;group=b.1 ;z=2", True),
        ("group=b.12", False), ("group=bx1", False), ("mygroup=b.1", False), ("a=group=b.1", False), ("", False),
    ],
)  # fmt: skip
def test_cookie_of_a_group_is_found_among_others(cookies, is_meant):
    group = parse_group("cookie:group=b.1")
    assert group is not None
    pattern = group.condition["cookie"]["regex"]
    assert bool(re.fullmatch(pattern, cookies)) is is_meant


def test_timeout_and_errors_in_a_row_are_istio_s_own():
    objects = made(split(50, 50, timeout="500ms", outlier_errors="5"))
    assert {route["timeout"] for route in objects["VirtualService", "iris"]["spec"]["http"]} == {"500ms"}
    policy = objects["DestinationRule", "iris-canary"]["spec"]["trafficPolicy"]
    assert policy["outlierDetection"]["consecutiveGatewayErrors"] == 5
    assert policy["outlierDetection"]["consecutive5xxErrors"] == 0


def test_knobs_of_the_gateway_restart_no_pod():
    manifest = split(50, 50, timeout="1s", outlier_errors="5", rate_limit="1/s", sticky="header:a")
    manifest["spec"]["predictors"][0]["annotations"] = {MATCH: "header:x=1"}
    deployments = [
        [obj for (kind, _), obj in made(one).items() if kind == "Deployment"] for one in (manifest, split(50, 50))
    ]
    templates = [[obj["spec"]["template"] for obj in some] for some in deployments]
    assert templates[0] == templates[1]


def test_what_only_one_machine_s_gateway_does_is_refused_on_istio():
    manifest = split(50, 50, sticky="header:x-user", rate_limit="1/s")
    causes = list(refused_traffic(SeldonDeployment.from_json(manifest), SETTINGS))
    assert [cause.field for cause in causes] == [f"spec.annotations[{STICKY}]", f"spec.annotations[{RATE_LIMIT}]"]
    assert all(cause.message.endswith("it works on one machine only") for cause in causes)
    assert not list(refused_traffic(SeldonDeployment.from_json(manifest), OWN))
    assert not list(refused_traffic(SeldonDeployment.from_json(split(50, 50, timeout="1s")), SETTINGS))


@pytest.mark.data
def test_generated_objects_keep_istio_s_schemas():
    manifest = split(60, 30, 10, timeout="1s", outlier_errors="5", rate_limit="1/s", sticky="header:a")
    manifest["spec"]["predictors"][0]["annotations"] = {MATCH: "cookie:group=b"}
    objects = [obj for (kind, _), obj in made(manifest).items() if kind in ("VirtualService", "DestinationRule")]
    assert len(objects) == 4
    assert [list(complain_of_definition(obj)) for obj in objects] == [[]] * 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (STICKY, "x-user"), (STICKY, "header:"), (STICKY, "header:X-User"), (STICKY, "header:x-slipway-model"),
        (STICKY, "header:x-envoy-retry-on"), (STICKY, "cookie:a b"), (RATE_LIMIT, "0/s"), (RATE_LIMIT, "10"),
        (RATE_LIMIT, "1/d"), (TIMEOUT, "0s"), (TIMEOUT, "10"), (OUTLIER_ERRORS, "0"),
    ],
)  # fmt: skip
def test_value_that_cannot_be_honoured_is_refused(name, value):
    (cause,) = review(sdep(annotations={name: value}))
    assert cause.field == f"spec.annotations[{name}]"


def test_group_of_a_shadow_or_of_two_predictors_is_refused():
    given = {"annotations": {MATCH: "header:x=1"}}
    rows = [predictor("a", traffic=50, **given), predictor("b", traffic=50, **given)]
    (cause,) = review(sdep(*rows))
    assert (cause.field, "'a' already" in cause.message) == (f"spec.predictors[1].annotations[{MATCH}]", True)
    (cause,) = review(sdep(predictor("a"), predictor("b", shadow=True, traffic=10, **given)))
    assert "a shadow" in cause.message


@given(st.text(max_size=40))
def test_any_text_names_a_caller_or_none(text):
    for found in (parse_caller(text), parse_group(text)):
        assert found is None or text.startswith(f"{found.source}:{found.name}")
