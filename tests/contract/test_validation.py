"""The 21 admission rules (contract 1.7; behaviours 60, 61, 65, 66) and our own."""

from __future__ import annotations

import pytest

from slipway.contract.admission import review
from slipway.contract.causes import Cause
from slipway.contract.sdep import SeldonDeployment
from slipway.contract.validation import validate
from tests.contract.manifests import Manifest, component, node, predictor, sdep

SERVERS = {"SKLEARN_SERVER": "seldonio/sklearnserver:1.17.1"}
SKLEARN = {"implementation": "SKLEARN_SERVER", "modelUri": "gs://models/iris"}
DARK = {"shadow": True}
KAFKA = [{"name": "KAFKA_BROKER", "value": "b"}, {"name": "KAFKA_INPUT_TOPIC", "value": "i"}]
OUTPUT = [{"name": "KAFKA_OUTPUT_TOPIC", "value": "o"}]


def causes(manifest: Manifest, **servers: str) -> list[Cause]:
    return validate(SeldonDeployment.from_json(manifest), predictor_servers=servers or SERVERS)


def fields(manifest: Manifest) -> list[str]:
    return [cause.field for cause in causes(manifest)]


SERVER = predictor(graph=node(**SKLEARN), componentSpecs=[])
RULES: dict[str, tuple[Manifest, str, str]] = {
    "1 protocol": (sdep(protocol="soap"), "spec", "protocol"),
    "2 transport": (sdep(transport="carrier"), "spec", "transport"),
    "3 server type": (sdep(serverType="cron"), "spec", "serverType"),
    "4 kafka env": (
        sdep(predictor(svcOrchSpec={"env": KAFKA}), serverType="kafka"),
        "spec.predictors[0]",
        "KAFKA_OUTPUT_TOPIC",
    ),
    "5 lone shadow": (sdep(predictor(**DARK)), "spec.predictors[0]", "shadow"),
    "6 service name": (
        sdep(
            predictor("a", traffic=50, annotations={"seldon.io/svc-name": "x"}),
            predictor("b", traffic=50, annotations={"seldon.io/svc-name": "x"}),
        ),
        "spec.predictors[1]",
        "'x'",
    ),
    "7 no predictors": ({**sdep(), "spec": {"predictors": []}}, "spec", "predictors"),
    "8 no engine": (
        sdep(predictor(graph=node(children=[node("b")]), annotations={"seldon.io/no-engine": "false"})),
        "spec.predictors[0]",
        "one node",
    ),
    "9 predictor twice": (sdep(predictor(traffic=50), predictor(traffic=50)), "spec.predictors[1]", "'main'"),
    "10 no container": (
        sdep(predictor(graph=node(children=[node("a"), node("b")]), componentSpecs=[component("clf", "a")])),
        "spec.predictors[0].graph[1]",
        "'b'",
    ),
    "11 unknown type": (sdep(predictor(graph=node(type="UNKNOWN_TYPE"))), "spec.predictors[0].graph", "methods"),
    "12 model URI": (
        sdep(predictor(graph=node(implementation="SKLEARN_SERVER"), componentSpecs=[])),
        "spec.predictors[0].graph",
        "modelUri",
    ),
    "13 tensorflow": (sdep(SERVER, protocol="tensorflow"), "spec.predictors[0].graph", "tensorflow"),
    "14 unknown server": (
        sdep(predictor(graph=node(**SKLEARN | {"implementation": "MY_SERVER"}), componentSpecs=[])),
        "spec.predictors[0].graph",
        "MY_SERVER",
    ),
    "15 logger mode": (sdep(predictor(graph=node(logger={"url": "http://log"}))), "spec.predictors[0].graph", "mode"),
    "16 mixed endpoints": (
        sdep(
            predictor(
                graph=node(endpoint={"type": "REST"}, children=[node("b", endpoint={"type": "GRPC"})]),
            )
        ),
        "spec",
        "GRPC, REST",
    ),
    "17 contradicted": (sdep(predictor(graph=node(endpoint={"type": "GRPC"})), transport="rest"), "spec", "GRPC"),
    "18 two shadows": (sdep(predictor(), predictor("b", **DARK), predictor("c", **DARK)), "spec", "shadows"),
    "19 shadow traffic": (sdep(predictor(), predictor("b", traffic=101, **DARK)), "spec", "101"),
    "20 sum": (sdep(predictor("a", traffic=60), predictor("b", traffic=30)), "spec", "90"),
    "21 lone traffic": (sdep(predictor(traffic=20)), "spec", "20"),
}


@pytest.mark.parametrize("rule", RULES)
def test_rule_is_one_cause_at_its_field(rule):
    manifest, field, word = RULES[rule]
    found = causes(manifest)
    assert [cause.field for cause in found] == [field]
    assert word in found[0].message


def test_all_violations_come_together():
    manifest = sdep(predictor(traffic=50, graph=node("other"), componentSpecs=[]), protocol="soap", transport="x")
    assert fields(manifest) == ["spec", "spec", "spec", "spec.predictors[0].graph"]


@pytest.mark.parametrize(
    "manifest",
    [
        sdep(),
        sdep(predictor(traffic=0)),
        sdep(predictor(traffic=100)),
        sdep(predictor(traffic=150)),
        sdep(predictor(), predictor("dark", shadow=True, traffic=40)),
        sdep(predictor("a", traffic=100), predictor("b", traffic=0)),
        sdep(predictor("a", traffic=90), predictor("b", traffic=10), predictor("dark", shadow=True)),
        sdep(SERVER, protocol="v2"),
        sdep(SERVER, protocol="kfserving"),
        sdep(predictor(svcOrchSpec={"env": KAFKA + OUTPUT}), serverType="kafka"),
        sdep(predictor(graph=node(methods=["TRANSFORM_INPUT"], type="UNKNOWN_TYPE"))),
        sdep(predictor(graph=node(endpoint={"type": "GRPC"})), transport="grpc"),
        sdep(
            predictor(
                graph=node(
                    implementation="RANDOM_ABTEST",
                    children=[node("a"), node("b")],
                    parameters=[{"name": "ratioA", "value": "0.5", "type": "FLOAT"}],
                )
            )
        ),
        sdep(predictor(graph=node(implementation="MY_SERVER", modelUri="s3://m", type="ROUTER", children=[node("a")]))),
        {**sdep(), "apiVersion": "machinelearning.seldon.io/v1alpha2"},
    ],
)
def test_valid_manifests_pass(manifest):
    assert causes(manifest) == []


def test_two_predictors_without_traffic_fail():
    assert fields(sdep(predictor("a"), predictor("b"))) == ["spec"]


def test_huggingface_needs_no_model_uri():
    graph = node(implementation="HUGGINGFACE_SERVER")
    assert causes(sdep(predictor(graph=graph, componentSpecs=[]), protocol="v2"), HUGGINGFACE_SERVER="mlserver:1") == []


def parameter(kind: str, value: str, name: str = "p") -> Manifest:
    return {"name": name, "value": value, "type": kind}


OWN: dict[str, tuple[Manifest, str, str]] = {
    "two nodes of one name": (
        sdep(predictor(graph=node(children=[node("b"), node("b")]), componentSpecs=[component("clf", "b")])),
        "spec.predictors[0].graph[1]",
        "'b'",
    ),
    "router alone": (sdep(predictor(graph=node(type="ROUTER"))), "spec.predictors[0].graph", "children"),
    "built-in router alone": (
        sdep(predictor(graph=node(implementation="SIMPLE_ROUTER"), componentSpecs=[])),
        "spec.predictors[0].graph",
        "SIMPLE_ROUTER routes to its first child, it has none",
    ),
    "combiner alone": (sdep(predictor(graph=node(type="COMBINER"))), "spec.predictors[0].graph", "children"),
    "type": (sdep(predictor(graph=node(type="MODELL"))), "spec.predictors[0].graph", "OUTPUT_TRANSFORMER"),
    "method": (sdep(predictor(graph=node(methods=["PREDICT"]))), "spec.predictors[0].graph", "SEND_FEEDBACK"),
    "parameter value": (
        sdep(predictor(graph=node(parameters=[parameter("INT", "1.5")]))),
        "spec.predictors[0].graph",
        "whole number",
    ),
    "parameter type": (
        sdep(predictor(graph=node(parameters=[parameter("float", "1.5")]))),
        "spec.predictors[0].graph",
        "FLOAT",
    ),
    "parameter twice": (
        sdep(predictor(graph=node(parameters=[parameter("INT", "1"), parameter("INT", "2")]))),
        "spec.predictors[0].graph",
        "twice",
    ),
    "logger mode": (
        sdep(predictor(graph=node(logger={"mode": "everything"}))),
        "spec.predictors[0].graph",
        "request, response, all",
    ),
    "logger url": (
        sdep(predictor(graph=node(logger={"mode": "all", "url": "default-broker"}))),
        "spec.predictors[0].graph",
        "http:// or https://",
    ),
    "A/B test of three": (
        sdep(predictor(graph=node(implementation="RANDOM_ABTEST", children=[node("a"), node("b"), node("c")]))),
        "spec.predictors[0].graph",
        "two children",
    ),
    "ratio": (
        sdep(
            predictor(
                graph=node(
                    implementation="RANDOM_ABTEST",
                    children=[node("a"), node("b")],
                    parameters=[parameter("FLOAT", "1.5", "ratioA")],
                )
            )
        ),
        "spec.predictors[0].graph",
        "0 to 1",
    ),
    "negative traffic": (
        sdep(predictor("a", traffic=-50), predictor("b", traffic=150)),
        "spec.predictors[0].traffic",
        "below 0",
    ),
    "container twice": (
        sdep(predictor(componentSpecs=[component("clf"), component("clf")])),
        "spec.predictors[0].componentSpecs",
        "2 containers",
    ),
    "label that selectors use": (
        sdep(predictor(labels={"app": "mine"})),
        "spec.predictors[0].labels[app]",
        "find their Pods",
    ),
    "predictor name": (sdep(predictor("Main_1")), "spec.predictors[0].name", "lower case"),
    "node name that is more than one line of a header": (
        sdep(predictor(graph={"name": "m\r\nx: y", "implementation": "SIMPLE_MODEL"}, componentSpecs=[])),
        "spec.predictors[0].graph",
        "a name is of printable ASCII",
    ),
    "port of an endpoint": (
        sdep(predictor(graph=node(endpoint={"service_host": "other", "service_port": 90000}))),
        "spec.predictors[0].graph",
        "service_port 90000 is no port from 1 to 65535",
    ),
    "host of an endpoint": (
        sdep(predictor(graph=node(endpoint={"service_host": "http://other", "service_port": 9000}))),
        "spec.predictors[0].graph",
        "service_host 'http://other' is no name or address of a host",
    ),
    "port of an explainer": (
        sdep(
            predictor(
                explainer={"type": "ALE", "containerSpec": {"image": "x:1"}, "endpoint": {"grpcPort": -1}},
            )
        ),
        "spec.predictors[0].explainer",
        "grpcPort -1 is no port",
    ),
    "unknown annotation of ours": (
        sdep(metadata={"annotations": {"slipway.dev/follow-aliass": "true"}}),
        "metadata.annotations[slipway.dev/follow-aliass]",
        "slipway.dev/follow-alias",
    ),
    "annotation of ours in the wrong place": (
        sdep(metadata={"annotations": {"slipway.dev/follow-alias": "true"}}),
        "metadata.annotations[slipway.dev/follow-alias]",
        "spec",
    ),
    "value of ours": (
        sdep(predictor(annotations={"slipway.dev/rollout": "bluegreen"})),
        "spec.predictors[0].annotations[slipway.dev/rollout]",
        "bluegreen",
    ),
    "Seldon's annotation where nothing reads it": (
        sdep(metadata={"annotations": {"seldon.io/rest-timeout": "1000"}}),
        "metadata.annotations[seldon.io/rest-timeout]",
        "spec",
    ),
    "Seldon's annotation that is no number": (
        sdep(annotations={"seldon.io/rest-timeout": "1s"}),
        "spec.annotations[seldon.io/rest-timeout]",
        "milliseconds",
    ),
}


@pytest.mark.parametrize("case", OWN)
def test_own_rule_is_one_cause_at_its_field(case):
    manifest, field, word = OWN[case]
    found = causes(manifest)
    assert [cause.field for cause in found] == [field]
    assert word in found[0].message


def test_too_many_nodes_are_one_cause():
    graph = node(children=[node(f"n{number}") for number in range(64)])
    assert fields(sdep(predictor(graph=graph))) == ["spec.predictors[0].graph"]


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        (
            sdep(predictor(graph=node(implementation="SIMPLE_MODEL")), protocol="tensorflow"),
            "spec.predictors[0].graph",
        ),
        (sdep(predictor(svcOrchSpec={"env": KAFKA + OUTPUT}), serverType="kafka"), "spec.serverType"),
        (sdep(predictor(explainer={"type": "AnchorTabular"})), "spec.predictors[0].explainer.containerSpec.image"),
        (sdep(predictor(ssl={"certSecretName": "tls"})), "spec.predictors[0].ssl"),
        (
            sdep(predictor(graph=node(logger={"mode": "all"}), annotations={"seldon.io/no-engine": "true"})),
            "spec.predictors[0].graph",
        ),
        (
            sdep(predictor(svcOrchSpec={"env": [{"name": "LOGGER_KAFKA_BROKER", "value": "kafka:9092"}]})),
            "spec.predictors[0].svcOrchSpec.env[LOGGER_KAFKA_BROKER]",
        ),
    ],
)
def test_review_refuses_what_is_not_carried_out(manifest, field):
    assert causes(manifest) == [], "the contract's rules allow it"
    found = review(manifest)
    assert [cause.field for cause in found] == [field]
    assert "not offered" in found[0].message


@pytest.mark.parametrize("protocol", ["seldon", "tensorflow", "v2", "kfserving"])
def test_review_takes_every_protocol_of_the_contract(protocol):
    assert review(sdep(protocol=protocol)) == []


def test_review_lets_other_kinds_pass():
    assert review({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}) == []


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        (sdep(predictor(traffic="ten")), "spec.predictors[0].traffic"),
        (sdep(predictor(traffic=True)), "spec.predictors[0].traffic"),
        (sdep(predictor(graph={"type": "MODEL"}, componentSpecs=[])), "spec.predictors[0].graph.name"),
        (
            sdep(predictor(componentSpecs=[{"spec": {"containers": [{"image": "x"}]}}])),
            "spec.predictors[0].componentSpecs[0].spec.containers[0].name",
        ),
        (
            sdep(predictor(componentSpecs=[{"spec": {"containers": [{"name": "clf", "ports": [{"name": {}}]}]}}])),
            "spec.predictors[0].componentSpecs[0].spec.containers[0].ports[0].name",
        ),
        (
            sdep(predictor(componentSpecs=[{"spec": {"containers": [{"name": "clf"}], "securityContext": 8888}}])),
            "spec.predictors[0].componentSpecs[0].spec.securityContext",
        ),
        (
            sdep(
                predictor(
                    componentSpecs=[
                        {"spec": {"containers": [{"name": "clf", "securityContext": {"capabilities": []}}]}}
                    ]
                )
            ),
            "spec.predictors[0].componentSpecs[0].spec.containers[0].securityContext.capabilities",
        ),
        (sdep(predictor(labels={"a": 1})), "spec.predictors[0].labels[a]"),
        (
            sdep(predictor(componentSpecs=[component("clf", hpaSpec={})])),
            "spec.predictors[0].componentSpecs[0].hpaSpec.maxReplicas",
        ),
        ({**sdep(), "spec": None}, "spec"),
        ({**sdep(), "metadata": "x"}, "metadata"),
        ({**sdep(), "apiVersion": "machinelearning.seldon.io/v2"}, "apiVersion"),
    ],
)
def test_review_names_the_field_of_the_wrong_shape(manifest, field):
    assert [cause.field for cause in review(manifest)] == [field]


def test_review_survives_a_graph_of_any_depth():
    graph = node("n0")
    for number in range(1, 400):
        graph = node(f"n{number}", children=[graph])
    assert "64 nodes below one another" in review(sdep(predictor(graph=graph, componentSpecs=[])))[0].message
