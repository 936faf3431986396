"""What a span of a node's call says of the node."""

from __future__ import annotations

from slipway.executor.graph import Node

NODE = "seldon.node"
IMAGE = "seldon.image"
METHOD = "http.request.method"
RPC = "rpc.system"


def facts_of(node: Node) -> dict[str, str | int]:
    """The node's name, and its image where it has one (contract §3.16)."""
    image = node.image
    named = f"{image.name}:{image.version}" if image.version else image.name
    return {NODE: node.name, **({IMAGE: named} if named else {})}


def rest_facts(node: Node, verb: str) -> dict[str, str | int]:
    return {METHOD: verb, **facts_of(node)}


def grpc_facts(node: Node) -> dict[str, str | int]:
    return {RPC: "grpc", **facts_of(node)}
