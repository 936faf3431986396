"""Names of models in the URLs and requests of the protocols v2 and tensorflow (contract §3.2)."""

from __future__ import annotations

import re

from slipway.executor.graph import Graph, Node
from slipway.serving.errors import BAD_DATA, NOT_FOUND, ServingError

MAX_NAME_CHARS = 253
_NAME = re.compile(rf"(?!\.\.?$)[A-Za-z0-9._@:+ -]{{1,{MAX_NAME_CHARS}}}")


def checked_name(name: str) -> str:
    """``name`` if it can stand in a path; ServingError 400 else, so that no name leads to another path of a node."""
    if not _NAME.fullmatch(name):
        info = f"{name[:80]!r} is no model's name or version: letters, digits and ._@:+- are, up to {MAX_NAME_CHARS}"
        raise ServingError(info, reason=BAD_DATA)
    return name


def named_model(graph: Graph, name: str) -> str:
    """The model that every node is asked for: the client's, or none (each node's own) for a node of the graph.

    Seldon asks every node for the name in the URL, so only nameless URLs work in a graph of several nodes; here the
    names of the graph's own nodes work too.
    """
    return "" if not name or name in graph.nodes else checked_name(name)


def node_of_model(graph: Graph, name: str) -> Node:
    """The node that serves a model: of that name, or the only one there is; ServingError 404 with the names else."""
    if name in graph.nodes and graph.nodes[name].endpoint is not None:
        return graph.nodes[name]
    found = graph.callable_nodes()
    if len(found) == 1:
        return found[0]
    known = ", ".join(node.name for node in found)
    info = f"predictor {graph.predictor} has no model {name[:80]!r}; it has {known or 'none'}"
    raise ServingError(info, status_code=404, reason=NOT_FOUND)
