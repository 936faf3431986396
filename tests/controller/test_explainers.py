"""A predictor's explainer: its objects, its share of the status, and what of it is refused (contract 1.2, 1.5, 2.1, 2.6)."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.contract.admission import review
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.status import Observed, status_of
from slipway.onebox.mesh.translate import Objects as MeshObjects
from slipway.onebox.mesh.translate import Site, translate
from tests.contract.manifests import Manifest, node, predictor, sdep
from tests.controller.cases import SETTINGS
from tests.onebox_mesh.world import endpoint_slice, gateway

Object = dict[str, Any]
NAME = "iris-main-explainer"


def explained(*, of_predictor: Object | None = None, spec: Object | None = None, **fields: Any) -> Manifest:
    explainer = {"type": "AnchorTabular", "containerSpec": {"image": "example/why:1"}, **fields}
    return sdep(predictor(explainer=explainer, **(of_predictor or {})), **(spec or {}))


def objects(manifest: Manifest) -> dict[tuple[str, str], Object]:
    made = desired(SeldonDeployment.from_json(manifest), Facts(SETTINGS))
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in made}


def container(manifest: Manifest) -> Object:
    (found,) = objects(manifest)["Deployment", NAME]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_row_76_explainer_is_labelled_and_gets_no_request_of_the_predictor():
    found = objects(explained())
    for kind in ("Deployment", "Service"):
        assert found[kind, NAME]["metadata"]["labels"]["seldon.io/explainer"] == "true"
    labels = found["Deployment", NAME]["spec"]["template"]["metadata"]["labels"]
    assert labels["seldon.io/explainer"] == "true"
    assert found["Service", NAME]["spec"]["selector"].items() <= labels.items()
    assert not found["Service", "iris-main"]["spec"]["selector"].items() <= labels.items()
    others = [obj for key, obj in found.items() if key[0] in ("Deployment", "Service") and key[1] != NAME]
    assert not [obj for obj in others if "seldon.io/explainer" in obj["metadata"]["labels"]]


def test_explainer_changes_nothing_of_its_predictor():
    """Seldon restarts the predictor's Pods where an explainer is added or edited."""
    with_one, without = objects(explained()), objects(sdep())
    assert {key: obj for key, obj in with_one.items() if key in without} == without
    assert {kind for kind, _ in with_one.keys() - without.keys()} == {"Service", "Deployment", "VirtualService"}


def test_explainer_is_told_where_the_predictor_is_and_what_to_do():
    rest = container(explained(modelUri="s3://m", config={"b": "2", "a": "1"}))
    assert rest["args"] == [
        "--model_name=iris",
        "--predictor_host=iris-main.team.svc.cluster.local:8000",
        "--protocol=seldon.http",
        "--http_port=9000",
        "--storage_uri=/mnt/models",
        "AnchorTabular",
        "--a=1",
        "--b=2",
    ]
    grpc = container(explained(spec={"transport": "grpc"}, type="AnchorImages"))["args"]
    assert "--predictor_host=iris-main.team.svc.cluster.local:5001" in grpc
    assert grpc[-3:] == ["--http_port=9000", "AnchorImages", "--tf_data_type=float32"]
    own = container(explained(containerSpec={"image": "x:1", "name": "why", "args": ["serve"]}))
    assert (own["name"], own["args"]) == ("why", ["serve"])


def test_explainer_s_port_is_the_container_s_before_the_endpoint_s():
    port = [{"name": "http", "containerPort": 8123}]
    for fields, expected in (
        ({"endpoint": {"service_port": 9123}}, 9123),
        ({"endpoint": {"service_port": 9123}, "containerSpec": {"image": "x:1", "ports": port}}, 8123),
    ):
        found = objects(explained(**fields))
        assert found["Service", NAME]["spec"]["ports"][0]["port"] == expected
        (route,) = found["VirtualService", f"{NAME}-http"]["spec"]["http"]
        assert route["route"][0]["destination"]["port"]["number"] == expected
        assert route["match"] == [{"uri": {"prefix": "/seldon/team/iris-explainer/main/"}}]


@pytest.mark.parametrize(
    ("of_predictor", "spec", "own", "expected"),
    [
        ({}, {}, {}, None),
        ({}, {}, {"replicas": 3}, 3),
        ({"replicas": 2}, {"replicas": 0}, {"replicas": 3}, 3),
        ({"replicas": 0}, {"replicas": 2}, {"replicas": 3}, 0),
        ({}, {"replicas": 0}, {"replicas": 3}, 0),
    ],
)
def test_row_67_explainer_rests_with_its_predictor_and_has_replicas_of_its_own_else(of_predictor, spec, own, expected):
    made = objects(explained(of_predictor=of_predictor, spec=spec, **own))["Deployment", NAME]
    assert made["spec"].get("replicas") == expected


def test_gateway_of_one_machine_leads_to_the_explainer_and_not_to_the_predictor():
    found = objects(explained())
    of_kind = {kind: tuple(obj for key, obj in found.items() if key[0] == kind) for kind, _ in found}
    ready = endpoint_slice(NAME, {"http": 9000, "grpc": 9500}, {"127.20.0.9": True})
    ready["metadata"]["namespace"] = "team"
    mesh = translate(
        MeshObjects(
            virtual_services=of_kind["VirtualService"],
            destination_rules=of_kind["DestinationRule"],
            gateways=(gateway(),),
            services=of_kind["Service"],
            endpoint_slices=(ready,),
        ),
        Site("127.0.0.1", 8080, "/page.html"),
    )
    leads = {
        route.match.path: [item.cluster for item in route.destinations]
        for host in mesh.virtual_hosts
        for route in host.routes
    }
    (cluster,) = leads["/seldon/team/iris-explainer/main/"]
    assert NAME in cluster
    assert leads["/seldon/team/iris/"] == [], "the predictor has no ready Pod, and the explainer is none of its"
    assert [item for item in mesh.findings if NAME in item.name] == []


def test_explainer_without_a_type_is_none():
    assert objects(explained(type="")) == objects(sdep())


READY = {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


def test_explainer_that_is_not_ready_holds_back_available_and_no_request():
    manifest = SeldonDeployment.from_json(explained())
    facts = Facts(SETTINGS)
    found = {(obj["kind"], obj["metadata"]["name"]): obj for obj in desired(manifest, facts)}
    for (kind, name), obj in found.items():
        if kind == "Deployment":
            obj["status"] = {} if name == NAME else READY
    status = status_of(manifest, facts, Observed(found), models=[], now="2026-01-01T00:00:00Z", old={})
    assert (status["state"], status["traffic"]["effective"]) == ("Creating", {"main": 100.0})
    assert status["serviceStatus"][NAME]["explainerFor"] == "iris-main"
    found["Deployment", NAME]["status"] = READY
    status = status_of(manifest, facts, Observed(found), models=[], now="2026-01-01T00:00:00Z", old={})
    assert status["state"] == "Available"
    assert status["deploymentStatus"][NAME] == {"replicas": 1, "availableReplicas": 1}


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        (explained(containerSpec={}), "containerSpec.image"),
        (explained(initParameters="{}"), "initParameters"),
        (explained(modelUri="models:/why@best"), "modelUri"),
        (explained(spec={"protocol": "v2"}), ""),
        (explained(containerSpec={"image": "x:1", "env": [{"value": "y"}]}), "containerSpec.env[0].name"),
        (explained(config={"a": 1}), "config[a]"),
    ],
)
def test_explainer_that_is_not_offered_is_one_cause_at_its_field(manifest, field):
    (cause,) = review(manifest)
    assert cause.field == ".".join(filter(None, ("spec.predictors[0].explainer", field)))


def test_explainer_s_service_is_nobody_else_s():
    first = predictor("a", traffic=50, explainer={"type": "X", "containerSpec": {"image": "x:1"}})
    (cause,) = review(sdep(first, predictor("b", traffic=50, annotations={"seldon.io/svc-name": "iris-a-explainer"})))
    assert "explainer of predictor 'a'" in cause.message
    (cause,) = review(sdep(first, predictor("a-explainer", traffic=50, graph=node())))
    assert cause.field == "spec.predictors[1]"
