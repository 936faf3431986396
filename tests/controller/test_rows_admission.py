"""Rows 60, 61, 65 and 66 of docs/compatibility.md: what the API takes and what it refuses, with 422 and one cause each."""

from __future__ import annotations

import pytest

from slipway.kube.errors import Invalid
from tests.contract.manifests import Manifest, component, node, predictor, sdep
from tests.controller.conftest import Platform

SKLEARN = predictor(graph=node(implementation="SKLEARN_SERVER", modelUri="s3://m"), componentSpecs=[])
NO_ENGINE = {"seldon.io/no-engine": "true"}


async def refused(platform: Platform, manifest: Manifest) -> list[str]:
    """The fields of the causes; an AssertionError where it is taken."""
    with pytest.raises(Invalid) as refusal:
        await platform.apply(manifest)
    assert (refusal.value.code, refusal.value.reason) == (422, "Invalid")
    return [cause["field"] for cause in refusal.value.causes]


def endpoints(*kinds: str, **spec: str) -> Manifest:
    """A chain of nodes whose endpoints are of these types."""
    graph = None
    for number, kind in reversed(list(enumerate(kinds))):
        graph = node(f"n{number}", endpoint={"type": kind} if kind else {}, children=[graph] if graph else [])
    return sdep(predictor(graph=graph), **spec)


async def test_row_60_protocol_transport_and_server_type_are_seldons_or_422_with_one_cause_at_spec(platform):
    for protocol in ("", "seldon", "tensorflow", "v2", "kfserving"):
        await platform.apply(sdep(protocol=protocol))
    for transport in ("", "rest", "grpc"):
        await platform.apply(sdep(transport=transport))
    for server_type in ("", "rpc"):
        await platform.apply(sdep(serverType=server_type))
    for field, value in (("protocol", "soap"), ("transport", "REST"), ("serverType", "cron")):
        assert await refused(platform, sdep(**{field: value})) == ["spec"]


async def test_row_61_endpoint_types_that_differ_or_contradict_the_transport_are_refused(platform):
    for taken in (
        endpoints("REST", "REST"),
        endpoints("REST", "", transport="rest"),
        endpoints("GRPC", transport="grpc"),
    ):
        await platform.apply(taken)
    assert await refused(platform, endpoints("REST", "GRPC")) == ["spec"]
    assert await refused(platform, endpoints("REST", transport="grpc")) == ["spec"]
    assert await refused(platform, endpoints("GRPC", "", transport="rest")) == ["spec"]


WRONG: dict[str, tuple[Manifest, str]] = {
    "graph name is no container's": (
        sdep(predictor(graph=node("other"), componentSpecs=[component("clf")])),
        "spec.predictors[0].graph",
    ),
    "no-engine with two nodes": (
        sdep(predictor(graph=node(children=[node("b")]), annotations=NO_ENGINE)),
        "spec.predictors[0]",
    ),
    "two predictors of one name": (sdep(predictor(traffic=50), predictor(traffic=50)), "spec.predictors[1]"),
    "sum is 90": (sdep(predictor("a", traffic=60), predictor("b", traffic=30)), "spec"),
    "no percentages": (sdep(predictor("a"), predictor("b")), "spec"),
    "one predictor of 50": (sdep(predictor(traffic=50)), "spec"),
    "a lone shadow": (sdep(predictor(shadow=True)), "spec.predictors[0]"),
    "two shadows": (sdep(predictor(), predictor("b", shadow=True), predictor("c", shadow=True)), "spec"),
    "a shadow of 101": (sdep(predictor(), predictor("b", shadow=True, traffic=101)), "spec"),
    "no predictors": ({**sdep(), "spec": {"predictors": []}}, "spec"),
    "one svc-name twice": (
        sdep(
            predictor("a", traffic=50, annotations={"seldon.io/svc-name": "x"}),
            predictor("b", traffic=50, annotations={"seldon.io/svc-name": "x"}),
        ),
        "spec.predictors[1]",
    ),
}


async def test_row_65_names_sums_shadows_and_service_names_are_one_cause_each(platform):
    for what, (manifest, field) in WRONG.items():
        assert await refused(platform, manifest) == [field], what
    for taken in (
        sdep(predictor(traffic=0)),
        sdep(predictor(traffic=100)),
        sdep(predictor("a", traffic=100), predictor("b", traffic=0)),
        sdep(predictor("a"), predictor("b", shadow=True, traffic=100)),
        sdep(predictor(annotations=NO_ENGINE)),
    ):
        await platform.apply(taken)


async def test_row_66_tensorflow_with_sklearn_is_refused_and_v2_and_kfserving_are_not(platform):
    assert await refused(platform, sdep(SKLEARN, protocol="tensorflow")) == ["spec.predictors[0].graph"]
    for protocol in ("v2", "kfserving", "seldon"):
        await platform.apply(sdep(SKLEARN, protocol=protocol))
