"""Predictors for tests, from short JSON graphs."""

from __future__ import annotations

from typing import Any

from slipway.contract.sdep import PredictorSpec
from slipway.executor.compile import compile_graph
from slipway.executor.graph import Graph

NOWHERE = {"service_host": "127.0.0.1", "service_port": 1, "httpPort": 1, "grpcPort": 1}


def graph_of(graph: dict[str, Any]) -> Graph:
    """The compiled graph; nodes without an endpoint get one where nothing listens, except built-ins."""
    return compile_graph(PredictorSpec.from_json(predictor_of(graph)))


def predictor_of(graph: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "main", "graph": _placed(graph), **fields}


def _placed(node: dict[str, Any]) -> dict[str, Any]:
    placed = {**node, "children": [_placed(child) for child in node.get("children", [])]}
    if node.get("implementation") != "RANDOM_ABTEST" or node.get("methods"):
        placed.setdefault("endpoint", NOWHERE)
    return placed
