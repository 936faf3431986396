"""A defaulted PredictorSpec → the Graph that requests take; what cannot be run is an error here, not on a request."""

from __future__ import annotations

from dataclasses import replace

from slipway.contract.graph import METHODS, NODE_TYPES, RANDOM_ABTEST, PredictiveUnit, name_fault
from slipway.contract.loggers import check_log_url
from slipway.contract.own_rules import CHILDREN_NEEDED
from slipway.contract.parameters import ratio_a
from slipway.contract.sdep import PredictorSpec
from slipway.executor.errors import GraphError
from slipway.executor.graph import (
    BuiltIn,
    Endpoint,
    EventKind,
    Graph,
    Image,
    Method,
    Node,
    PayloadLogger,
    RandomAbTest,
)

NETWORK_TYPES = frozenset(NODE_TYPES) - {"UNKNOWN_TYPE"}
BUILT_INS = frozenset(built_in.value for built_in in BuiltIn)
LOGGED = {
    "request": frozenset({EventKind.REQUEST}),
    "response": frozenset({EventKind.RESPONSE, EventKind.FEEDBACK}),
    "all": frozenset(EventKind),
}
"""A logger's mode → what it logs (contract §3.10)."""


def compile_graph(spec: PredictorSpec, *, log_url: str = "") -> Graph:
    """The graph of ``spec``; ``log_url``: where the payload loggers without a URL of their own send.

    Raises:
        GraphError: a node has nothing to be called on, a word is none of the contract's, an A/B test cannot choose,
            payload events have nowhere to go, or a name fits into no header.
    """
    _check_name(spec.name, "predictor")
    images = {
        container["name"]: str(container.get("image", ""))
        for component in spec.component_specs
        for container in component.containers
    }
    root = _node(spec.graph, images=images, log_url=log_url, where=f"predictor {spec.name}: graph")
    nodes: dict[str, Node] = {}
    for node in root.walk():
        nodes.setdefault(node.name, node)
    version = spec.annotations.get("version") or spec.labels.get("version", "")
    return Graph(spec.name, version, root, nodes, is_logged=any(node.logger for node in root.walk()))


def _node(unit: PredictiveUnit, *, images: dict[str, str], log_url: str, where: str) -> Node:
    here = f"{where}: node {unit.name}"
    _check_name(unit.name, f"{where}: node")
    children = tuple(_node(child, images=images, log_url=log_url, where=here) for child in unit.children)
    _check_words(unit, here)
    if unit.type in CHILDREN_NEEDED and not children:
        raise GraphError(f"{here}: {unit.type} {CHILDREN_NEEDED[unit.type]}, it has none")
    if built_in := _built_in(unit):
        return replace(_built_in_node(unit, built_in, children, here), logger=_logger(unit, log_url, here))
    if unit.endpoint is not None and (fault := unit.endpoint.fault):
        raise GraphError(f"{here}: {fault}")
    node = Node(
        name=unit.name,
        input=_input(unit),
        router=_router(unit, here),
        combiner=Method.AGGREGATE if unit.type == "COMBINER" or "AGGREGATE" in unit.methods else None,
        transforms_output=unit.type == "OUTPUT_TRANSFORMER" or "TRANSFORM_OUTPUT" in unit.methods,
        takes_feedback=unit.takes_feedback,
        role=unit.type or "",
        endpoint=_endpoint(unit),
        image=split_image(images.get(unit.name, "")),
        logger=_logger(unit, log_url, here),
        children=children,
    )
    if node.endpoint is None and (unit.type in NETWORK_TYPES or unit.methods):
        raise GraphError(f"{here}: has no endpoint with service_host and ports, so it cannot be called")
    return node


def _built_in(unit: PredictiveUnit) -> BuiltIn | None:
    """What the executor itself does for the node; a node with a container and a type is called instead."""
    is_called = _endpoint(unit) is not None and (unit.type in NETWORK_TYPES or unit.methods)
    return None if is_called or unit.implementation not in BUILT_INS else BuiltIn(unit.implementation)


def _built_in_node(unit: PredictiveUnit, built_in: BuiltIn, children: tuple[Node, ...], where: str) -> Node:
    if (needed := CHILDREN_NEEDED.get(built_in.value)) and not children:
        raise GraphError(f"{where}: {built_in.value} {needed}, it has none")
    return Node(
        name=unit.name,
        input=built_in if built_in is BuiltIn.SIMPLE_MODEL else None,
        router=built_in if built_in is BuiltIn.SIMPLE_ROUTER else None,
        combiner=built_in if built_in is BuiltIn.AVERAGE_COMBINER else None,
        role=unit.type or "",
        children=children,
    )


def _check_name(name: str, what: str) -> None:
    if fault := name_fault(name):
        raise GraphError(f"{what} {fault}")


def _check_words(unit: PredictiveUnit, where: str) -> None:
    for field, words, known in (
        ("type", [unit.type] if unit.type else [], NODE_TYPES),
        ("methods", unit.methods, METHODS),
    ):
        for word in words:
            if word not in known:
                raise GraphError(f"{where}: {field}: {word!r} is not one of {', '.join(sorted(known))}")


def split_image(image: str) -> Image:
    """Name and version for the metrics: an image with exactly one ``:`` splits there (contract §3.11)."""
    name, colon, version = image.partition(":")
    if not colon or ":" in version:
        return Image(name=name)
    return Image(name, version)


def _input(unit: PredictiveUnit) -> Method | None:
    if unit.type == "TRANSFORMER" or "TRANSFORM_INPUT" in unit.methods:
        return Method.TRANSFORM_INPUT
    return Method.PREDICT if unit.type == "MODEL" else None


def _router(unit: PredictiveUnit, where: str) -> Method | RandomAbTest | None:
    if unit.type == "ROUTER" or "ROUTE" in unit.methods:
        return Method.ROUTE
    if unit.implementation != RANDOM_ABTEST:
        return None
    if len(unit.children) < 2:
        raise GraphError(f"{where}: RANDOM_ABTEST chooses between two children, it has {len(unit.children)}")
    try:
        return RandomAbTest(ratio_a(unit.parameters))
    except ValueError as error:
        raise GraphError(f"{where}: {error}") from error


def _logger(unit: PredictiveUnit, log_url: str, where: str) -> PayloadLogger | None:
    if unit.logger is None:
        return None
    if unit.logger.mode not in LOGGED:
        raise GraphError(f"{where}: logger mode {unit.logger.mode!r} is not one of {', '.join(LOGGED)}")
    url = unit.logger.url or log_url
    if not url:
        raise GraphError(f"{where}: the logger has no url, and REQUEST_LOGGER_DEFAULT_ENDPOINT gives none")
    try:
        check_log_url(url)
    except ValueError as error:
        raise GraphError(f"{where}: {error}") from None
    return PayloadLogger(LOGGED[unit.logger.mode], url)


def _endpoint(unit: PredictiveUnit) -> Endpoint | None:
    endpoint = unit.endpoint
    if endpoint is None or not endpoint.service_host:
        return None
    http_port = endpoint.http_port or endpoint.service_port
    grpc_port = endpoint.grpc_port or endpoint.service_port
    return Endpoint(endpoint.service_host, http_port, grpc_port, endpoint.service_port or http_port)
