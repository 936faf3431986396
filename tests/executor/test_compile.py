"""Predictors to graphs, and the graph's own description: the contract's behaviour 49."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.contract.sdep import PredictorSpec
from slipway.executor.compile import compile_graph, split_image
from slipway.executor.errors import GraphError, MetadataError
from slipway.executor.graph import Image, RandomAbTest
from slipway.executor.metadata import describe_json, edge_nodes
from tests.executor.graphs import graph_of, predictor_of


def unit(name: str, kind: str, *children: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "children": list(children), **fields}


LEAF = unit("m", "MODEL")


def ab(*children: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "ab", "implementation": "RANDOM_ABTEST", "children": list(children), **fields}


def ratio(value: str, name: str = "ratioA") -> list[dict[str, str]]:
    return [{"name": name, "value": value, "type": "FLOAT"}]


def test_ab_test_takes_its_ratio_or_a_half() -> None:
    assert graph_of(ab(LEAF, LEAF)).root.router == RandomAbTest(0.5)
    assert graph_of(ab(LEAF, LEAF, parameters=ratio("0.9"))).root.router == RandomAbTest(0.9)


@pytest.mark.parametrize(
    ("graph", "text"),
    [
        (ab(LEAF), "node ab: RANDOM_ABTEST chooses between two children, it has 1"),
        (ab(LEAF, LEAF, parameters=ratio("2")), "parameter 'ratioA': '2' is not a number from 0 to 1"),
        (ab(LEAF, LEAF, parameters=ratio("nan")), "parameter 'ratioA': 'nan' is not"),
        (ab(LEAF, LEAF, parameters=ratio("1", "b")), "takes one parameter, ratioA, not b"),
        (unit("r", "ROUTER"), "node r: ROUTER routes to its children, it has none"),
        (unit("c", "COMBINER"), "node c: COMBINER combines the answers of its children, it has none"),
        (unit("m", "MODELL"), "node m: type: 'MODELL' is not one of COMBINER, MODEL, OUTPUT_TRANSFORMER"),
        (unit("m", "MODEL", methods=["PREDICT"]), "node m: methods: 'PREDICT' is not one of AGGREGATE"),
        (unit("m", "MODEL", endpoint={}), "node m: has no endpoint"),
        (
            unit("m", "MODEL", endpoint={"service_host": "h", "httpPort": 90000}),
            "node m: endpoint: httpPort 90000 is no port from 1 to 65535",
        ),
        *(
            (
                unit("m", "MODEL", endpoint={"service_host": host, "httpPort": 9000}),
                "node m: endpoint: service_host .* is no name or address of a host",
            )
            for host in ("a/b", "a b", "a@b", "[::1]", "h:1", "h\0", "a\r\nb")
        ),
        (unit("r", "ROUTER", unit("m\r\nx-evil: 1", "MODEL")), r"node r: node 'm\\r\\nx-evil: 1': a name is of"),
        (unit("größe", "MODEL"), "node 'größe': a name is of printable ASCII"),
        (unit("m;dur=0, n", "MODEL"), "node 'm;dur=0, n': a name is of"),
        (unit("../ready", "MODEL"), "node '../ready': a name is of"),
    ],
)
def test_graph_that_cannot_run_is_an_error_that_names_the_node(graph: dict[str, Any], text: str) -> None:
    with pytest.raises(GraphError, match=text):
        graph_of(graph)


@pytest.mark.parametrize(
    ("image", "split"),
    [
        ("repo/img:0.1", Image("repo/img", "0.1")),
        ("img", Image("img", "")),
        ("host:5000/img:1", Image("host", "")),
        ("", Image("", "")),
    ],
)
def test_image_splits_at_its_only_colon(image: str, split: Image) -> None:
    assert split_image(image) == split


def test_image_and_version_come_from_the_predictor() -> None:
    containers = [{"name": "m", "image": "a/b:3"}]
    predictor = predictor_of(LEAF, componentSpecs=[{"spec": {"containers": containers}}], labels={"version": "v2"})
    graph = compile_graph(PredictorSpec.from_json(predictor))
    assert (graph.root.image, graph.version) == (Image("a/b", "3"), "v2")


@pytest.mark.parametrize(
    ("graph", "edges"),
    [
        (LEAF, ("m", "m")),
        (unit("a", "MODEL", unit("b", "MODEL", LEAF)), ("a", "m")),
        (unit("t", "TRANSFORMER", LEAF), ("t", "m")),
        (unit("o", "OUTPUT_TRANSFORMER", LEAF), ("m", "o")),
        (unit("c", "COMBINER", LEAF, unit("n", "MODEL")), ("m", "c")),
        (unit("r", "ROUTER", LEAF, unit("n", "MODEL")), ("m", "m")),
        (ab(unit("t", "TRANSFORMER", LEAF), unit("n", "MODEL")), ("t", "m")),
    ],
    ids=["single", "chain", "transformer", "output-transformer", "combiner", "router", "ab-test"],
)
def test_edges_of_the_graph_s_metadata(graph: dict[str, Any], edges: tuple[str, str]) -> None:
    first, last = edge_nodes(graph_of(graph).root)
    assert (first.name, last.name) == edges


def test_metadata_keeps_v1_style_schemas_and_leaves_out_nodes_without_an_endpoint() -> None:
    inputs = [{"messagetype": "jsonData", "schema": {"type": "object"}}]
    body = json.dumps({"name": "img", "inputs": inputs, "outputs": [], "other": 1}).encode()
    described = describe_json("main", graph_of(ab(LEAF, LEAF)).root, {"m": body})
    assert described == {
        "name": "main",
        "models": {"m": {"name": "img", "inputs": inputs, "outputs": []}},
        "graphinputs": inputs,
        "graphoutputs": [],
    }


@pytest.mark.parametrize("body", [b"[]", b"{", b""])
def test_metadata_that_is_no_object_is_an_error(body: bytes) -> None:
    with pytest.raises(MetadataError, match="the metadata of node m"):
        describe_json("main", graph_of(LEAF).root, {"m": body})
