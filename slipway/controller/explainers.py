"""A predictor's explainer → its Service, Deployment and VirtualService (contract 1.2, 1.5, 2.1, 2.6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slipway.contract.annotations import MODEL_SHA256
from slipway.contract.defaulting import port_of
from slipway.contract.explainers import Explainer
from slipway.contract.graph import UNKNOWN_IMPLEMENTATION, Endpoint, PredictiveUnit
from slipway.contract.names import explainer_name, explainer_route_name, predictor_service_name, service_host
from slipway.contract.sdep import ComponentSpec, PredictorSpec, SeldonDeployment
from slipway.controller.deployments import deployment_object, pod_annotations, pod_labels
from slipway.controller.facts import Facts
from slipway.controller.meta import EXPLAINER, ISTIO_NETWORKING, Object, metadata
from slipway.controller.pods import node_containers, pod_spec
from slipway.controller.published_servers import MODELS_PATH
from slipway.controller.services import entry_ports
from slipway.controller.traffic import GATEWAY, HOST

FEATURES_AS_FLOATS = {"AnchorImages": ["--tf_data_type=float32"]}
"""Pictures go to TensorFlow models as floats."""


def explainers(sdep: SeldonDeployment, facts: Facts) -> list[Object]:
    """Of every predictor that has one. ``sdep`` is defaulted."""
    objects: list[Object] = []
    for predictor in sdep.predictors:
        if predictor.explainer is not None:
            objects += _objects(predictor.explainer, predictor, sdep, facts)
    return objects


def _objects(explainer: Explainer, predictor: PredictorSpec, sdep: SeldonDeployment, facts: Facts) -> list[Object]:
    name = explainer_name(sdep.name, predictor)
    container = _container(explainer, predictor, sdep)
    alone = _alone(explainer, predictor, container)
    return [
        _service(name, container, sdep),
        _deployment(name, explainer, alone, sdep, facts),
        _virtual_service(name, container, predictor, sdep, facts),
    ]


def _container(explainer: Explainer, predictor: PredictorSpec, sdep: SeldonDeployment) -> Object:
    """As the manifest has it, with name, ports and arguments."""
    ports = [dict(port) for port in explainer.container.get("ports") or ()]
    named = {port.get("name") for port in ports}
    for kind, number in (("http", explainer.http_port), ("grpc", explainer.grpc_port)):
        if kind not in named:
            ports.append({"name": kind, "containerPort": number, "protocol": "TCP"})
    container = {"name": explainer_name(sdep.name, predictor), **explainer.container, "ports": ports}
    return {"args": _arguments(explainer, predictor, sdep, port_of(container, "http")), **container}


def _arguments(explainer: Explainer, predictor: PredictorSpec, sdep: SeldonDeployment, port: int) -> list[str]:
    """Those of Seldon's explainer server (components/alibi-explain-server at 1.17.1, Apache-2.0)."""
    http, grpc = entry_ports(predictor)
    is_grpc = sdep.transport == "grpc"
    host = service_host(predictor_service_name(sdep.name, predictor), sdep.namespace)
    return [
        f"--model_name={sdep.name}",
        f"--predictor_host={host}:{grpc if is_grpc else http}",
        f"--protocol={sdep.protocol}.{'grpc' if is_grpc else 'http'}",
        f"--http_port={port}",
        *([f"--storage_uri={MODELS_PATH}"] if explainer.model_uri else []),
        explainer.type,
        *FEATURES_AS_FLOATS.get(explainer.type, []),
        *(f"--{key}={value}" for key, value in sorted(explainer.config.items())),
    ]


def _alone(explainer: Explainer, predictor: PredictorSpec, container: Object) -> PredictorSpec:
    """The explainer as the only node of a predictor, which is what its Pod is to the pieces that make Pods."""
    http, grpc = port_of(container, "http"), port_of(container, "grpc")
    node = PredictiveUnit(
        name=container["name"],
        implementation=UNKNOWN_IMPLEMENTATION,
        endpoint=Endpoint("localhost", http, "", http, grpc),
        model_uri=explainer.model_uri,
        env_secret_ref_name=explainer.env_secret_ref_name,
        storage_initializer_image=explainer.storage_initializer_image,
    )
    account = explainer.service_account_name
    spec = {"containers": [container], **({"serviceAccountName": account} if account else {})}
    # digests are of the graph's models
    annotations = {key: value for key, value in predictor.annotations.items() if key != MODEL_SHA256}
    return replace(predictor, graph=node, component_specs=(ComponentSpec(spec=spec),), annotations=annotations)


def _deployment(name: str, explainer: Explainer, alone: PredictorSpec, sdep: SeldonDeployment, facts: Facts) -> Object:
    containers, initializers, volumes = node_containers(alone, 0, sdep, facts)
    template = {
        "metadata": {
            "labels": {**pod_labels(name, alone, sdep), EXPLAINER: "true"},
            "annotations": pod_annotations(alone, sdep),
        },
        "spec": pod_spec(alone.component_specs[0].spec, containers, initializers, volumes, alone, facts.settings),
    }
    replicas = 0 if _is_at_rest(alone, sdep) else explainer.replicas
    return deployment_object(name, template, alone, sdep, replicas=replicas, contains_engine=False)


def _is_at_rest(predictor: PredictorSpec, sdep: SeldonDeployment) -> bool:
    return (predictor.replicas if predictor.replicas is not None else sdep.replicas) == 0


def _service(name: str, container: Object, sdep: SeldonDeployment) -> Object:
    ports = [
        {"name": kind, "port": number, "targetPort": number, "protocol": "TCP"}
        for kind in ("http", "grpc")
        if (number := port_of(container, kind))
    ]
    meta = metadata(name, sdep, labels={EXPLAINER: "true"})
    spec = {"type": "ClusterIP", "selector": {"app": name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def _virtual_service(
    name: str, container: Object, predictor: PredictorSpec, sdep: SeldonDeployment, facts: Facts
) -> Object:
    destination: dict[str, Any] = {
        "host": service_host(name, sdep.namespace),
        "port": {"number": port_of(container, "http")},
    }
    prefix = f"/seldon/{sdep.namespace}/{sdep.name}-explainer/{predictor.name}/"
    route = {
        "match": [{"uri": {"prefix": prefix}}],
        "rewrite": {"uri": "/"},
        "route": [{"destination": destination, "weight": 100}],
    }
    spec = {
        "hosts": [sdep.annotation(HOST) or "*"],
        "gateways": [sdep.annotation(GATEWAY) or facts.settings.istio_gateway],
        "http": [route],
    }
    meta = metadata(explainer_route_name(sdep.name, predictor), sdep, labels={EXPLAINER: "true"})
    return {"apiVersion": ISTIO_NETWORKING, "kind": "VirtualService", "metadata": meta, "spec": spec}
