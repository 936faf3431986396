"""The SeldonDeployment that drills are held on, as values: a transformer before a detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.contract.annotations import MAX_REQUESTS

NAMESPACE = "slipway-drill"
NAME = "drill"
LIVE = "main"
CANARY = "next"
TRANSFORMER, DETECTOR = "image-transformer", "yolo-detector"
NODES = (TRANSFORMER, DETECTOR)
OBJECTS_LABEL = "seldon-deployment-id"
UNRETRIED = f"{NAME}-without-retries"
UNRETRIED_PREFIX = "/slipway-drill-without-retries/"
NO_DRAIN = {"SLIPWAY_DRAIN_SECONDS": "0", "SLIPWAY_GRACE_SECONDS": "0"}
BROKEN_COMMAND = ["python", "-c", "raise SystemExit('this version is broken on purpose')"]
Object = dict[str, Any]


@dataclass(frozen=True)
class Models:
    """``present`` and ``following``: registry URIs; ``size``: what the transformer makes of a photo, WIDTHxHEIGHT."""

    present: str = "models:/shapes/1"
    following: str = "models:/shapes/2"
    size: str = "192x192"
    transformer_image: str = "slipway/image-transformer:0.1.0"
    detector_image: str = "slipway/yolo-detector:0.1.0"


@dataclass(frozen=True)
class Subject:
    """What the SeldonDeployment is at one moment.

    ``canary``: percent of the second predictor, None where there is none. ``has_shadow``: there is a second one that gets
    copies, or half of the requests where ``without`` says so. ``try_s``: what the gateway gives each try of a
    request before it asks another replica; None for its default of a minute. ``in_flight``: requests that the gateway
    lets pass at a time, and that an executor takes; None for their defaults.
    """

    models: Models = Models()
    replicas: int = 2
    uses_following: bool = False
    is_broken: bool = False
    canary: int | None = None
    has_shadow: bool = False
    try_s: int | None = None
    in_flight: int | None = None
    without: frozenset[str] = frozenset()

    @property
    def counts(self) -> dict[str, int]:
        """Predictor → Pods."""
        has_second = self.canary is not None or self.has_shadow
        return {LIVE: self.replicas, **({CANARY: 1} if has_second else {})}

    def manifest(self) -> Object:
        canary = self.canary
        if self.has_shadow and "shadow" in self.without:
            canary = 50
        predictors = [self._predictor(LIVE, self.uri, self.replicas, 100 - (canary or 0))]
        if canary is not None:
            predictors.append(self._predictor(CANARY, self.models.following, 1, canary))
        elif self.has_shadow:
            predictors.append({**self._predictor(CANARY, self.models.following, 1, 100), "shadow": True})
        return {
            "apiVersion": "machinelearning.seldon.io/v1",
            "kind": "SeldonDeployment",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"annotations": self._annotations(), "predictors": predictors},
        }

    def _annotations(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.try_s is not None:
            found |= {"seldon.io/istio-retries": "2", "seldon.io/istio-retries-timeout": str(self.try_s)}
        if self._is_limited:
            found[MAX_REQUESTS] = str(self.in_flight)
        return found

    @property
    def _is_limited(self) -> bool:
        return self.in_flight is not None and "limits" not in self.without

    @property
    def uri(self) -> str:
        return self.models.following if self.uses_following else self.models.present

    def _predictor(self, name: str, uri: str, replicas: int, traffic: int) -> Object:
        detector = {"name": DETECTOR, "type": "MODEL", "modelUri": uri}
        size = {"name": "input", "value": self.models.size, "type": "STRING"}
        graph = {"name": TRANSFORMER, "type": "TRANSFORMER", "parameters": [size], "children": [detector]}
        images = {TRANSFORMER: self.models.transformer_image, DETECTOR: self.models.detector_image}
        containers = [self._container(node, image) for node, image in images.items()]
        if self.is_broken and name == LIVE:
            containers[-1]["command"] = BROKEN_COMMAND
        return {
            "name": name,
            "replicas": replicas,
            "traffic": traffic,
            "graph": graph,
            "componentSpecs": [{"spec": {"containers": containers}}],
            "svcOrchSpec": {"env": self._limits()},
        }

    def _container(self, name: str, image: str) -> Object:
        """Asked every second whether it still answers: a frozen process accepts connections, so that must be HTTP."""
        ping = {"httpGet": {"path": "/health/ping", "port": "http"}, "periodSeconds": 1, "timeoutSeconds": 1}
        return {
            "name": name,
            "image": image,
            "env": self._environment(),
            "readinessProbe": {**ping, "failureThreshold": 1},
        }

    def _limits(self) -> list[dict[str, str]]:
        """The executor's, where requests come past the gateway: it refuses before it reads a body."""
        if not self._is_limited:
            return []
        return [{"name": "SLIPWAY_MAX_IN_FLIGHT", "value": str(self.in_flight)}]

    def _environment(self) -> list[dict[str, str]]:
        return [{"name": key, "value": value} for key, value in NO_DRAIN.items() if "drain" in self.without]


def path(without: frozenset[str] = frozenset()) -> str:
    """Where the gateway takes predictions."""
    prefix = UNRETRIED_PREFIX if "retries" in without else f"/seldon/{NAMESPACE}/{NAME}/"
    return f"{prefix}api/v1.0/predictions"


def without_retries(virtual_service: Mapping[str, Any]) -> Object:
    """A second way to the same predictors, on which the gateway tries once: that of predictions in ``virtual_service``."""
    spec = virtual_service["spec"]
    match = [{"uri": {"prefix": UNRETRIED_PREFIX}}]
    rest = next(route for route in spec["http"] if "prefix" in route["match"][0]["uri"])
    route = {**rest, "match": match, "retries": {"attempts": 0}}
    return {
        "apiVersion": virtual_service["apiVersion"],
        "kind": "VirtualService",
        "metadata": {"name": UNRETRIED, "namespace": NAMESPACE},
        "spec": {"hosts": spec["hosts"], "gateways": spec["gateways"], "http": [route]},
    }


NAMESPACE_OBJECT: Mapping[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
