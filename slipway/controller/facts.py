"""What is known besides the SeldonDeployment itself: settings, resolved models, and objects that exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.contract.sdep import PredictiveUnit, PredictorSpec, SeldonDeployment

Object = dict[str, Any]
Key = tuple[str, str]
"""(kind, name) of an object in the SeldonDeployment's own namespace."""


@dataclass(frozen=True)
class SecretName:
    namespace: str
    name: str


@dataclass(frozen=True)
class Settings:
    """What the controller was started with."""

    executor_image: str = "slipway/executor:0.1.0"
    storage_initializer_image: str = "slipway/storage-initializer:0.1.0"
    istio_gateway: str = "istio-system/seldon-gateway"
    model_secret: SecretName = SecretName("slipway-system", "slipway-model-storage")
    predictor_servers: Mapping[str, str] = field(default_factory=dict)
    request_logger: str = "http://default-broker"
    run_as_user: int = 8888
    controller_id: str = ""
    has_keda: bool = False


@dataclass(frozen=True)
class NodeModel:
    """The registered version that one node runs. ``uri`` is the manifest's text, ``generation`` when it was resolved."""

    predictor: str
    node: str
    uri: str
    name: str
    version: str
    digest: str | None
    source: str
    alias: str | None = None
    generation: int = 0

    @property
    def pinned_uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True)
class Facts:
    """``models`` by (predictor, node); ``observed`` by (kind, name): what exists now."""

    settings: Settings = field(default_factory=Settings)
    models: Mapping[tuple[str, str], NodeModel] = field(default_factory=dict)
    observed: Mapping[Key, Object] = field(default_factory=dict)


def nodes_with_models(sdep: SeldonDeployment) -> Iterator[tuple[PredictorSpec, PredictiveUnit]]:
    """Every node that names a model, in the order of the manifest."""
    for predictor in sdep.predictors:
        for node in predictor.graph.walk():
            if node.model_uri:
                yield predictor, node


def key_of(obj: Mapping[str, Any]) -> Key:
    return str(obj["kind"]), str(obj["metadata"]["name"])
