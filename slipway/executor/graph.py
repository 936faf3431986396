"""A defaulted predictor → the tree of steps that a request takes (contract §3.3, §3.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum


class Method(Enum):
    """What a node can be asked: (REST path, gRPC method), contract §3.2."""

    PREDICT = ("/predict", "/seldon.protos.Model/Predict")
    TRANSFORM_INPUT = ("/transform-input", "/seldon.protos.Transformer/TransformInput")
    TRANSFORM_OUTPUT = ("/transform-output", "/seldon.protos.OutputTransformer/TransformOutput")
    ROUTE = ("/route", "/seldon.protos.Router/Route")
    AGGREGATE = ("/aggregate", "/seldon.protos.Combiner/Aggregate")
    SEND_FEEDBACK = ("/send-feedback", "/seldon.protos.Model/SendFeedback")

    def __init__(self, rest_path: str, grpc_path: str) -> None:
        self.rest_path = rest_path
        self.grpc_path = grpc_path


class BuiltIn(Enum):
    """Implementations that the executor carries out itself (contract §3.4)."""

    SIMPLE_MODEL = "SIMPLE_MODEL"
    SIMPLE_ROUTER = "SIMPLE_ROUTER"
    """Always the first child."""
    AVERAGE_COMBINER = "AVERAGE_COMBINER"


@dataclass(frozen=True, slots=True)
class RandomAbTest:
    """Child 0 with probability ``ratio``, else child 1."""

    ratio: float


class EventKind(Enum):
    """What a payload log tells of a node; the values are the contract's event types (§3.10)."""

    REQUEST = "io.seldon.serving.inference.request"
    RESPONSE = "io.seldon.serving.inference.response"
    FEEDBACK = "io.seldon.serving.feedback"


@dataclass(frozen=True, slots=True)
class PayloadLogger:
    """Which payloads of a node are logged, and where they are sent."""

    kinds: frozenset[EventKind]
    url: str = field(repr=False)
    """May hold a password."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    host: str
    http_port: int
    grpc_port: int
    service_port: int
    """The one of the two that probes ask."""


@dataclass(frozen=True, slots=True)
class Image:
    """Labels of the client metrics: an image splits at ``:``; a version needs exactly one (contract §3.11)."""

    name: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    input: Method | BuiltIn | None = None
    router: Method | RandomAbTest | BuiltIn | None = None
    combiner: Method | BuiltIn | None = None
    transforms_output: bool = False
    takes_feedback: bool = False
    role: str = ""
    """The node's type, which decides whose inputs and outputs the graph shows (contract §3.15)."""
    endpoint: Endpoint | None = None
    image: Image = Image()
    logger: PayloadLogger | None = None
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """This node and everything below it, depth first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Graph:
    """One predictor, ready to be run."""

    predictor: str
    version: str
    """Of the metrics; the predictor's annotation ``version``, else its label (contract §3.11)."""
    root: Node
    nodes: Mapping[str, Node]
    """By name; of nodes that share one, the first."""
    is_logged: bool = False
    """Whether any node has a payload logger."""

    def callable_nodes(self) -> list[Node]:
        """The nodes that are reached over the network, each name once."""
        return [node for node in self.nodes.values() if node.endpoint is not None]
