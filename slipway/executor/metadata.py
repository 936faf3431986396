"""Metadata of the nodes → metadata of the graph (contract §3.15)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor.errors import MetadataError
from slipway.executor.graph import Node
from slipway.serving.errors import ServingError
from slipway.serving.json_body import parse_json

FIELDS = ("name", "platform", "versions", "inputs", "outputs", "custom")


def edge_nodes(node: Node) -> tuple[Node, Node]:
    """Whose inputs are the graph's inputs, and whose outputs are its outputs."""
    if not node.children:
        return node, node
    first, last = edge_nodes(node.children[0])
    match node.role:
        case "MODEL" | "TRANSFORMER":
            return node, last
        case "OUTPUT_TRANSFORMER" | "COMBINER":
            return first, node
        case _:
            return first, last


def describe_json(predictor: str, root: Node, bodies: Mapping[str, bytes]) -> dict[str, Any]:
    """The REST answer from each node's own ``/metadata`` body; a node without an endpoint has none."""
    models = {name: _fields(name, body) for name, body in bodies.items()}
    first, last = edge_nodes(root)
    return {
        "name": predictor,
        "models": models,
        "graphinputs": models.get(first.name, {}).get("inputs"),
        "graphoutputs": models.get(last.name, {}).get("outputs"),
    }


def describe_proto(predictor: str, root: Node, models: Mapping[str, pb.SeldonModelMetadata]) -> pb.SeldonGraphMetadata:
    """The gRPC answer from each node's own ``Metadata``."""
    described = pb.SeldonGraphMetadata(name=predictor)
    for name, model in models.items():
        described.models[name].CopyFrom(model)
    first, last = edge_nodes(root)
    if first.name in models:
        described.inputs.extend(models[first.name].inputs)
    if last.name in models:
        described.outputs.extend(models[last.name].outputs)
    return described


def _fields(name: str, body: bytes) -> dict[str, Any]:
    try:
        metadata = parse_json(body, what=f"the metadata of node {name}")
    except ServingError as error:
        raise MetadataError(str(error)) from error
    if not isinstance(metadata, dict):
        raise MetadataError(f"the metadata of node {name} is {type(metadata).__name__}, not an object")
    return {field: metadata[field] for field in FIELDS if field in metadata}
