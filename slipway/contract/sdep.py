"""A SeldonDeployment as typed values: what is read of it, and nothing guessed (contract section 1).

Kubernetes' own structures inside it (Pod specs, autoscaler specs) stay mappings: they go on to the API unread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.contract.explainers import Explainer
from slipway.contract.fields import FieldError, Fields
from slipway.contract.graph import Endpoint, Logger, Parameter, PredictiveUnit
from slipway.contract.security_context import check_security

__all__ = [
    "ComponentSpec",
    "Endpoint",
    "FieldError",
    "Json",
    "Logger",
    "Parameter",
    "PredictiveUnit",
    "PredictorSpec",
    "SeldonDeployment",
]

GROUP = "machinelearning.seldon.io"
VERSIONS = ("v1", "v1alpha2", "v1alpha3")  # one schema
KIND = "SeldonDeployment"
DEFAULT_NAMESPACE = "default"
Json = Mapping[str, Any]


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
    def read(cls, value: Any, path: str) -> ComponentSpec:
        fields = Fields.of(value, path)
        _check_pod_spec(fields.child("spec"))
        if (metadata := fields.child("metadata")) is not None:
            metadata.text("name")
            metadata.texts("labels")
            metadata.texts("annotations")
        _check_present(fields.child("hpaSpec"), "maxReplicas")
        _check_present(fields.child("kedaSpec"), "triggers")
        return cls(
            spec=fields.mapping("spec") or {},
            metadata=fields.mapping("metadata") or {},
            replicas=fields.whole("replicas"),
            hpa_spec=fields.mapping("hpaSpec"),
            keda_spec=fields.mapping("kedaSpec"),
            pdb_spec=fields.mapping("pdbSpec"),
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
    """One predictor: a graph and the Pods that its nodes run in.

    ``revision`` is in no manifest: it tells apart the Pods of two versions that a follower of aliases runs.
    """

    name: str
    graph: PredictiveUnit
    component_specs: tuple[ComponentSpec, ...] = ()
    replicas: int | None = None
    traffic: int = 0
    shadow: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    svc_orch_spec: Json = field(default_factory=dict)
    explainer: Explainer | None = None
    ssl: Json = field(default_factory=dict)
    progress_deadline_s: int | None = None
    revision: str = ""

    @classmethod
    def from_json(cls, value: Any) -> PredictorSpec:
        """From the JSON of one predictor, defaulted or not.

        Raises:
            FieldError: a ValueError that names the field.
        """
        return cls.read(value, "predictor")

    @classmethod
    def read(cls, value: Any, path: str) -> PredictorSpec:
        fields = Fields.of(value, path)
        _check_present(fields, "graph")
        _check_orchestrator(fields.child("svcOrchSpec"))
        if (ssl := fields.child("ssl")) is not None:
            ssl.text("certSecretName")
        return cls(
            name=fields.required_text("name"),
            graph=PredictiveUnit.read(fields.values["graph"], fields.at("graph")),
            component_specs=fields.items("componentSpecs", ComponentSpec.read),
            replicas=fields.whole("replicas"),
            traffic=fields.whole("traffic") or 0,
            shadow=fields.flag("shadow"),
            labels=fields.texts("labels"),
            annotations=fields.texts("annotations"),
            svc_orch_spec=fields.mapping("svcOrchSpec") or {},
            explainer=Explainer.read(fields.child("explainer")),
            ssl=fields.mapping("ssl") or {},
            progress_deadline_s=fields.whole("progressDeadlineSeconds"),
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
            "explainer": dict(self.explainer.given) if self.explainer else None,
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
    def from_json(cls, value: Any) -> SeldonDeployment:
        """From a manifest or the API's object, in any of the three versions.

        Raises:
            FieldError: a ValueError that names the field.
        """
        fields = Fields.of(value, "")
        _check_type(fields)
        metadata, spec = fields.required_child("metadata"), fields.required_child("spec")
        return cls(
            name=metadata.required_text("name"),
            namespace=metadata.text("namespace") or DEFAULT_NAMESPACE,
            uid=metadata.text("uid"),
            generation=metadata.whole("generation") or 0,
            labels=metadata.texts("labels"),
            metadata_annotations=metadata.texts("annotations"),
            predictors=spec.items("predictors", PredictorSpec.read),
            annotations=spec.texts("annotations"),
            protocol=spec.text("protocol"),
            transport=spec.text("transport"),
            server_type=spec.text("serverType"),
            replicas=spec.whole("replicas"),
        )

    def annotation(self, name: str) -> str | None:
        """From spec, else from the object's metadata: the order of the contract's "spec, then meta"."""
        return self.annotations.get(name, self.metadata_annotations.get(name))


def _check_present(fields: Fields | None, key: str) -> None:
    if fields is not None and fields.values.get(key) is None:
        raise FieldError(fields.at(key), "is required")


def _check_type(fields: Fields) -> None:
    known = [f"{GROUP}/{version}" for version in VERSIONS]
    if (version := fields.text("apiVersion")) not in known:
        raise FieldError("apiVersion", f"{version!r} is not one of {', '.join(known)}")
    if (kind := fields.text("kind")) != KIND:
        raise FieldError("kind", f"{kind!r} is not {KIND}")


def _check_pod_spec(spec: Fields | None) -> None:
    """What is read of a PodSpec here has the shape that Kubernetes gives it."""
    if spec is None:
        return
    check_security(spec)
    for part in ("containers", "initContainers"):
        for container in spec.items(part, Fields.of):
            container.required_text("name")
            container.text("image")
            for port in container.items("ports", Fields.of):
                port.text("name")
                port.whole("containerPort")
            for mount in container.items("volumeMounts", Fields.of):
                mount.text("name")
            _check_env(container)
            check_security(container)
    for volume in spec.items("volumes", Fields.of):
        volume.required_text("name")


def _check_orchestrator(spec: Fields | None) -> None:
    if spec is not None:
        spec.mapping("resources")
        spec.whole("replicas")
        _check_env(spec)


def _check_env(fields: Fields) -> None:
    for item in fields.items("env", Fields.of):
        item.required_text("name")
