"""A SeldonDeployment as typed values: what is read of it, and nothing guessed (contract section 1).

Kubernetes' own structures inside it (Pod specs, autoscaler specs) stay mappings: they go on to the API unread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

GROUP = "machinelearning.seldon.io"
VERSIONS = ("v1", "v1alpha2", "v1alpha3")  # one schema
KIND = "SeldonDeployment"
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Parameter:
    """``value`` is always text; ``type`` is INT, FLOAT, DOUBLE, STRING or BOOL."""

    name: str
    value: str
    type: str

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "value": self.value, "type": self.type}


@dataclass(frozen=True)
class Endpoint:
    """Where a node listens; note the mixed snake and camel case of its JSON."""

    service_host: str = ""
    service_port: int = 0
    type: str = ""
    http_port: int = 0
    grpc_port: int = 0

    @classmethod
    def from_json(cls, value: Json) -> Self:
        return cls(
            service_host=value.get("service_host", ""),
            service_port=value.get("service_port", 0),
            type=value.get("type", ""),
            http_port=value.get("httpPort", 0),
            grpc_port=value.get("grpcPort", 0),
        )

    def to_json(self) -> dict[str, Any]:
        pairs = {
            "service_host": self.service_host,
            "service_port": self.service_port,
            "type": self.type,
            "httpPort": self.http_port,
            "grpcPort": self.grpc_port,
        }
        return {key: value for key, value in pairs.items() if value}


@dataclass(frozen=True)
class Logger:
    """Where a node's payloads are logged."""

    mode: str = ""
    url: str = ""

    def to_json(self) -> dict[str, str]:
        return {key: value for key, value in (("mode", self.mode), ("url", self.url)) if value}


@dataclass(frozen=True)
class PredictiveUnit:
    """One node of a graph. Absent text is empty; ``implementation`` absent is empty until defaulting."""

    name: str
    type: str = ""
    implementation: str = ""
    methods: tuple[str, ...] = ()
    endpoint: Endpoint | None = None
    parameters: tuple[Parameter, ...] = ()
    model_uri: str = ""
    service_account_name: str = ""
    env_secret_ref_name: str = ""
    storage_initializer_image: str = ""
    logger: Logger | None = None
    children: tuple[PredictiveUnit, ...] = ()

    @classmethod
    def from_json(cls, value: Json) -> Self:
        endpoint, logger = value.get("endpoint"), value.get("logger")
        return cls(
            name=value["name"],
            type=value.get("type") or "",
            implementation=value.get("implementation") or "",
            methods=tuple(value.get("methods") or ()),
            endpoint=Endpoint.from_json(endpoint) if endpoint else None,
            parameters=tuple(
                Parameter(item["name"], str(item["value"]), item["type"]) for item in value.get("parameters") or ()
            ),
            model_uri=value.get("modelUri") or "",
            service_account_name=value.get("serviceAccountName") or "",
            env_secret_ref_name=value.get("envSecretRefName") or "",
            storage_initializer_image=value.get("storageInitializerImage") or "",
            logger=Logger(logger.get("mode", ""), logger.get("url", "")) if logger is not None else None,
            children=tuple(cls.from_json(child) for child in value.get("children") or ()),
        )

    def to_json(self) -> dict[str, Any]:
        pairs: dict[str, Any] = {
            "name": self.name,
            "type": self.type,
            "implementation": self.implementation,
            "methods": list(self.methods),
            "endpoint": self.endpoint.to_json() if self.endpoint else None,
            "parameters": [parameter.to_json() for parameter in self.parameters],
            "modelUri": self.model_uri,
            "serviceAccountName": self.service_account_name,
            "envSecretRefName": self.env_secret_ref_name,
            "storageInitializerImage": self.storage_initializer_image,
            "logger": self.logger.to_json() if self.logger else None,
            "children": [child.to_json() for child in self.children],
        }
        return {key: item for key, item in pairs.items() if item or key == "name"}

    def walk(self) -> Iterator[PredictiveUnit]:
        """This node, then everything below it, depth first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class ComponentSpec:
    """One Pod template of a predictor. ``spec`` is a Kubernetes PodSpec, ``metadata`` has name, labels, annotations."""

    spec: Json = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)
    replicas: int | None = None
    hpa_spec: Json | None = None
    keda_spec: Json | None = None
    pdb_spec: Json | None = None

    @classmethod
    def from_json(cls, value: Json) -> Self:
        return cls(
            spec=value.get("spec") or {},
            metadata=value.get("metadata") or {},
            replicas=value.get("replicas"),
            hpa_spec=value.get("hpaSpec"),
            keda_spec=value.get("kedaSpec"),
            pdb_spec=value.get("pdbSpec"),
        )

    def to_json(self) -> dict[str, Any]:
        pairs = {
            "metadata": self.metadata or None,
            "spec": self.spec,
            "replicas": self.replicas,
            "hpaSpec": self.hpa_spec,
            "kedaSpec": self.keda_spec,
            "pdbSpec": self.pdb_spec,
        }
        return {key: item for key, item in pairs.items() if item is not None}

    @property
    def containers(self) -> tuple[Json, ...]:
        return tuple(self.spec.get("containers") or ())


@dataclass(frozen=True)
class PredictorSpec:
    """One predictor: a graph and the Pods that its nodes run in."""

    name: str
    graph: PredictiveUnit
    component_specs: tuple[ComponentSpec, ...] = ()
    replicas: int | None = None
    traffic: int = 0
    shadow: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    svc_orch_spec: Json = field(default_factory=dict)
    explainer: Json = field(default_factory=dict)
    ssl: Json = field(default_factory=dict)
    progress_deadline_s: int | None = None

    @classmethod
    def from_json(cls, value: Json) -> Self:
        return cls(
            name=value["name"],
            graph=PredictiveUnit.from_json(value["graph"]),
            component_specs=tuple(ComponentSpec.from_json(item) for item in value.get("componentSpecs") or ()),
            replicas=value.get("replicas"),
            traffic=value.get("traffic") or 0,
            shadow=bool(value.get("shadow")),
            labels=value.get("labels") or {},
            annotations=value.get("annotations") or {},
            svc_orch_spec=value.get("svcOrchSpec") or {},
            explainer=value.get("explainer") or {},
            ssl=value.get("ssl") or {},
            progress_deadline_s=value.get("progressDeadlineSeconds"),
        )

    def to_json(self) -> dict[str, Any]:
        pairs: dict[str, Any] = {
            "name": self.name,
            "graph": self.graph.to_json(),
            "componentSpecs": [component.to_json() for component in self.component_specs],
            "replicas": self.replicas,
            "traffic": self.traffic or None,
            "shadow": self.shadow or None,
            "labels": dict(self.labels) or None,
            "annotations": dict(self.annotations) or None,
            "svcOrchSpec": self.svc_orch_spec or None,
            "explainer": self.explainer or None,
            "ssl": self.ssl or None,
            "progressDeadlineSeconds": self.progress_deadline_s,
        }
        return {key: item for key, item in pairs.items() if item is not None}


@dataclass(frozen=True)
class SeldonDeployment:
    """The whole resource. ``annotations`` are spec's, ``metadata_annotations`` the object's own."""

    name: str
    namespace: str
    predictors: tuple[PredictorSpec, ...]
    uid: str = ""
    generation: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    metadata_annotations: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    protocol: str = ""
    transport: str = ""
    server_type: str = ""
    replicas: int | None = None

    @classmethod
    def from_json(cls, value: Json) -> Self:
        """From the API's object. KeyError or TypeError for what the schema would have refused."""
        metadata, spec = value["metadata"], value["spec"]
        return cls(
            name=metadata["name"],
            namespace=metadata.get("namespace") or "default",
            uid=metadata.get("uid", ""),
            generation=metadata.get("generation", 0),
            labels=metadata.get("labels") or {},
            metadata_annotations=metadata.get("annotations") or {},
            predictors=tuple(PredictorSpec.from_json(item) for item in spec.get("predictors") or ()),
            annotations=spec.get("annotations") or {},
            protocol=spec.get("protocol") or "",
            transport=spec.get("transport") or "",
            server_type=spec.get("serverType") or "",
            replicas=spec.get("replicas"),
        )

    def annotation(self, name: str) -> str | None:
        """From spec, else from the object's metadata: the order of the contract's "spec, then meta"."""
        return self.annotations.get(name, self.metadata_annotations.get(name))
