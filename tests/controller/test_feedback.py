"""No way that feedback takes is tried again by a mesh that tries everything again, and no other request loses its tries.

What names the predictor that answered comes to it; no other request comes to whom it names.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from slipway.contract.following import NodeModel, Revision
from slipway.contract.headers import ANSWERED_BY
from slipway.contract.names import REVISION
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.handover import strands_requests
from slipway.crd.schema import MAX_PREDICTORS
from slipway.executor.graph import Method
from tests.contract.manifests import Manifest, component, node, predictor, sdep
from tests.controller.cases import SETTINGS

OWN = replace(SETTINGS, has_own_mesh=True)
PREFIX = "/seldon/team/iris.1/"
CALLERS = {"seldon": "iris.1", "namespace": "team"}
ONCE = {"attempts": 0}


def virtual_services(manifest: Manifest, facts: Facts) -> dict[str, Any]:
    found = desired(SeldonDeployment.from_json(manifest), facts)
    return {obj["metadata"]["name"]: obj["spec"] for obj in found if obj["kind"] == "VirtualService"}


def chosen(spec: dict[str, Any], path: str, *, port: int = 80, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """The route that Istio takes: the first one that matches, a regular expression on the whole path."""
    return next(
        route for route in spec["http"] if any(meets(item, path, port, headers or {}) for item in route["match"])
    )


def meets(match: dict[str, Any], path: str, port: int, headers: dict[str, str]) -> bool:
    uri = match.get("uri", {"prefix": "/"})
    is_path = (
        path == uri["exact"] if "exact" in uri
        else path.startswith(uri["prefix"]) if "prefix" in uri
        else re.fullmatch(uri["regex"], path) is not None
    )  # fmt: skip
    is_called = all(headers.get(name) == value["exact"] for name, value in match.get("headers", {}).items())
    return is_path and is_called and match.get("port", port) == port


def rewritten(route: dict[str, Any], path: str) -> str:
    rewrite = route["rewrite"]
    if "uri" in rewrite:
        prefix = route["match"][0]["uri"]["prefix"]
        return str(rewrite["uri"] + path.removeprefix(prefix))
    return re.sub(rewrite["uriRegexRewrite"]["match"], rewrite["uriRegexRewrite"]["rewrite"], path)


@pytest.fixture(params=[SETTINGS, OWN], ids=["istio", "one machine"])
def spec(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Everything else of it is tried five times."""
    rows = [predictor("a", traffic=90), predictor("b", traffic=10, annotations={"slipway.dev/match": "header:x=b"})]
    annotations = {"seldon.io/istio-retries": "5", "slipway.dev/timeout": "9s"}
    (found,) = virtual_services(sdep(*rows, name="iris.1", annotations=annotations), Facts(request.param)).values()
    return dict(found)


@pytest.mark.parametrize("headers", [{}, {"x": "b"}], ids=["split", "group"])
@pytest.mark.parametrize("path", ["api/v1.0/feedback", "api/v0.1/feedback", "send-feedback"])
def test_feedback_of_a_client_is_not_tried_again(spec: dict[str, Any], path: str, headers: dict[str, str]) -> None:
    route = chosen(spec, PREFIX + path, headers=headers)
    assert route["retries"] == ONCE
    assert route["timeout"] == "9s"
    assert rewritten(route, PREFIX + path) == f"/{path}"
    tried = chosen(spec, f"{PREFIX}api/v1.0/predictions", headers=headers)
    assert {**route, "match": 0, "rewrite": 0, "retries": 0} == {**tried, "match": 0, "rewrite": 0, "retries": 0}


@pytest.mark.parametrize(
    "path", ["api/v1.0/predictions", "api/v1x0/feedback", "feedback", "api/v1.0/feedback/x", "v1/models"]
)
def test_other_requests_of_a_client_are(spec: dict[str, Any], path: str) -> None:
    route = chosen(spec, PREFIX + path)
    assert route["retries"]["attempts"] == 5
    assert rewritten(route, PREFIX + path) == f"/{path}"


def test_name_of_another_deployment_is_not_taken_for_this_one(spec: dict[str, Any]) -> None:
    with pytest.raises(StopIteration):
        chosen(spec, "/seldon/team/irisx1/api/v1.0/feedback")


@pytest.mark.parametrize("headers", [{}, {"x": "b"}], ids=["split", "group"])
def test_feedback_over_grpc_is_not_tried_again(spec: dict[str, Any], headers: dict[str, str]) -> None:
    callers = {**CALLERS, **headers}
    for service in ("Seldon", "Model", "Router", "Generic"):
        assert chosen(spec, f"/seldon.protos.{service}/SendFeedback", headers=callers)["retries"] == ONCE
    for method in ("/seldon.protos.Seldon/Predict", "/inference.GRPCInferenceService/ModelInfer"):
        assert chosen(spec, method, headers=callers)["retries"]["attempts"] == 5


def answered_by(name: str) -> dict[str, str]:
    return {**CALLERS, ANSWERED_BY: name}


FEEDBACK = [PREFIX + "api/v1.0/feedback", PREFIX + "send-feedback", "/seldon.protos.Seldon/SendFeedback"]
OTHERS = [
    *(PREFIX + path for path in ("api/v1.0/predictions", "api/v1.0/feedback/x", "v2/models/infer", "ready")),
    "/seldon.protos.Seldon/Predict",
    "/inference.GRPCInferenceService/ModelInfer",
]


@pytest.mark.parametrize("group", [{}, {"x": "b"}], ids=["split", "group"])
@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("path", FEEDBACK)
def test_feedback_comes_to_the_predictor_that_answered(
    spec: dict[str, Any], path: str, name: str, group: dict[str, str]
) -> None:
    route = chosen(spec, path, headers={**answered_by(name), **group})
    port = 5001 if path.startswith("/seldon.protos") else 8000
    destination = {"host": f"iris.1-{name}.team.svc.cluster.local", "port": {"number": port}}
    assert route["route"] == [{"destination": destination}]
    assert (route["retries"], route["timeout"]) == (ONCE, "9s")
    if path.startswith(PREFIX):
        assert rewritten(route, path) == path.removeprefix(PREFIX[:-1])


@pytest.mark.parametrize("path", OTHERS)
def test_nothing_but_feedback_comes_to_whom_it_names(spec: dict[str, Any], path: str) -> None:
    assert chosen(spec, path, headers=answered_by("b")) == chosen(spec, path, headers=CALLERS)
    assert len(chosen(spec, path, headers=CALLERS)["route"]) == 2


@pytest.mark.parametrize("path", FEEDBACK)
def test_feedback_about_nobody_here_goes_as_one_that_names_nobody(spec: dict[str, Any], path: str) -> None:
    assert chosen(spec, path, headers=answered_by("gone")) == chosen(spec, path, headers=CALLERS)


@pytest.mark.parametrize("path", FEEDBACK)
def test_feedback_comes_to_a_predictor_at_none_and_never_to_a_shadow(path: str) -> None:
    rows = [predictor("a", traffic=100), predictor("b", traffic=0), predictor("dark", shadow=True, traffic=100)]
    spec = virtual_services(sdep(*rows, name="iris.1"), Facts(SETTINGS))["iris.1"]
    (only,) = chosen(spec, path, headers=answered_by("b"))["route"]
    assert only["destination"]["host"].startswith("iris.1-b.")
    assert not any("mirror" in route for route in spec["http"][:4]), "a shadow has answered nobody"
    split = chosen(spec, path, headers=answered_by("dark"))
    assert split == chosen(spec, path, headers=CALLERS)
    assert {item["destination"]["subset"]: item["weight"] for item in split["route"]} == {"a": 100, "b": 0}


def test_routes_grow_by_two_for_each_predictor_and_not_for_one_alone() -> None:
    assert len(virtual_services(sdep(predictor("a")), Facts(SETTINGS))["iris"]["http"]) == 4
    shares = [100, *[0] * (MAX_PREDICTORS - 1)]
    rows = [predictor(f"p{number}", traffic=share) for number, share in enumerate(shares)]
    spec = virtual_services(sdep(*rows), Facts(SETTINGS))["iris"]
    assert len(spec["http"]) == 4 + 2 * MAX_PREDICTORS
    assert len(json.dumps(spec)) < 150_000, "etcd takes 1.5 MiB"


def test_way_of_feedback_to_the_predictor_before_is_no_reason_to_switch_too_early() -> None:
    """The old one at 0 % is ready and can be rewarded; the new one, to which all predictions would go, is not."""
    before, after = (
        sdep(*rows) for rows in ([predictor("a")], [predictor("a", traffic=0), predictor("b", traffic=100)])
    )
    found, wanted = ({"spec": virtual_services(one, Facts(SETTINGS))["iris"]} for one in (before, after))
    deployments = [
        obj for obj in desired(SeldonDeployment.from_json(after), Facts(SETTINGS)) if obj["kind"] == "Deployment"
    ]
    for obj in deployments:
        obj["status"] = {"readyReplicas": int("-a-" in obj["metadata"]["name"])}
    assert strands_requests(wanted, found, deployments)
    for obj in deployments:
        obj["status"] = {"readyReplicas": 1}
    assert not strands_requests(wanted, found, deployments)


def far(**fields: Any) -> Manifest:
    """A router in the executor's Pod, a model and a transformer in others."""
    graph = node("r", type="ROUTER", children=[node("m"), node("t", type="TRANSFORMER")])
    return sdep(predictor("main", graph=graph, componentSpecs=[component(name) for name in "rmt"], **fields))


@pytest.mark.parametrize("method", list(Method.SEND_FEEDBACK.value), ids=str)
def test_feedback_to_a_node_of_another_pod_is_not_tried_again(method: str) -> None:
    found = virtual_services(far(), Facts(SETTINGS))
    assert found.keys() == {"iris", "iris-main-m"}, "the transformer gets none, the router is in the executor's own Pod"
    spec = found["iris-main-m"]
    assert spec["hosts"] == ["iris-main-m.team.svc.cluster.local"]
    assert "gateways" not in spec, "callers are within the mesh"
    (rest, grpc) = sorted({match["port"] for route in spec["http"] for match in route["match"]})
    port = grpc if method.startswith("/seldon.protos") else rest
    asked = chosen(spec, method, port=port)
    assert asked["retries"] == ONCE
    for other in ("/predict", "/seldon.protos.Model/Predict", "/route"):
        route = chosen(spec, other, port=port)
        assert "retries" not in route
        assert (
            route["route"] == asked["route"] == [{"destination": {"host": spec["hosts"][0], "port": {"number": port}}}]
        )


def test_hops_of_one_machine_and_hosts_of_others_have_no_routes() -> None:
    assert virtual_services(far(), Facts(OWN)).keys() == {"iris"}
    elsewhere = node("m", endpoint={"service_host": "models.other", "service_port": 9000})
    graph = node("r", type="ROUTER", children=[elsewhere])
    manifest = sdep(predictor("main", graph=graph, componentSpecs=[component("r")]))
    assert virtual_services(manifest, Facts(SETTINGS)).keys() == {"iris"}


def test_nodes_of_each_revision_have_routes_of_their_own() -> None:
    models = (NodeModel("m", "models:/shapes@champion", "shapes", "1", "sha256:1", "s3://models/shapes/1"),)
    revisions = [Revision(name, models) for name in ("v1", "v2")]
    found = desired(SeldonDeployment.from_json(far()), Facts(SETTINGS, revisions={"main": revisions}))
    services = {obj["metadata"]["name"] for obj in found if REVISION in str(obj) and obj["kind"] == "Service"}
    routed = {obj["metadata"]["name"] for obj in found if obj["kind"] == "VirtualService"} - {"iris"}
    assert len(routed) == 2
    assert routed <= services
