"""The executor's own metrics: names, labels and buckets of the contract (§3.11)."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, GCCollector, Histogram, PlatformCollector, ProcessCollector

from slipway.executor.graph import Node
from slipway.executor.quantiles import QuantileSummary

SERVER_SECONDS = "seldon_api_executor_server_requests_seconds"
CLIENT_SECONDS = "seldon_api_executor_client_requests_seconds"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
SERVER_LABELS = ("deployment_name", "predictor_name", "predictor_version", "service", "method", "code")
CLIENT_LABELS = (*SERVER_LABELS, "model_name", "model_image", "model_version")


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose requests these are; the first labels of every series."""

    deployment: str
    predictor: str
    version: str = ""


class _Timer:
    """One family as histogram and as summary."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self._histogram = Histogram(name, text, labels, buckets=BUCKETS, registry=registry)
        self._summary = QuantileSummary(f"{name}_summary", text, labels, registry=registry)
        self._children: dict[tuple[str, ...], Histogram] = {}

    def observe(self, values: tuple[str, ...], seconds: float) -> None:
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._histogram.labels(*values)
        child.observe(seconds)
        self._summary.observe(values, seconds)


class ExecutorMetrics:
    """Requests served and calls made; the labels' values come from the graph and from our own tables, never a client."""

    def __init__(self, identity: Identity) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.identity = identity
        self._server = _Timer(SERVER_SECONDS, "Requests to the executor, in seconds", SERVER_LABELS, self.registry)
        self._client = _Timer(CLIENT_SECONDS, "Calls of nodes, in seconds", CLIENT_LABELS, self.registry)

    def served(self, service: str, method: str, code: str, seconds: float) -> None:
        self._server.observe((*self._owner(), service, method, code), seconds)

    def node_called(self, node: Node, service: str, method: str, code: str, seconds: float) -> None:
        model = (node.name, node.image.name, node.image.version)
        self._client.observe((*self._owner(), service, method, code, *model), seconds)

    def labels(self) -> dict[str, str]:
        """Whose metrics these are."""
        return dict(zip(SERVER_LABELS, self._owner(), strict=False))

    def _owner(self) -> tuple[str, str, str]:
        return self.identity.deployment, self.identity.predictor, self.identity.version
