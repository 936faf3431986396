"""Services of a predictor and of its node containers (contract section 2.4)."""

from __future__ import annotations

from slipway.contract.defaulting import port_of
from slipway.contract.names import (
    REVISION,
    container_service_name,
    predictor_service_name,
    revision_service_name,
    service_label,
)
from slipway.contract.sdep import Json, PredictorSpec, SeldonDeployment
from slipway.controller.deployments import LOCALHOST, has_engine
from slipway.controller.meta import GRPC_PORT, HTTP_PORT, SHADOW, Object, metadata, type_label

HEADLESS = "seldon.io/headless-svc"


def services(predictor: PredictorSpec, sdep: SeldonDeployment, *, revision: str = "") -> list[Object]:
    """The entry of the predictor, then one per node container; they select the Pods of ``revision`` where there is one."""
    selected = {REVISION: revision} if revision else {}
    objects = [_entry(predictor, sdep, selected)]
    for container in _node_containers(predictor):
        name = container_service_name(sdep.name, predictor, container["name"])
        label = {service_label(container["name"]): name}
        kinds = _kinds(predictor, container["name"])
        objects.append(_service(name, _ports(container), label, predictor, sdep, selected=selected, kinds=kinds))
    return objects


def revision_services(predictor: PredictorSpec, sdep: SeldonDeployment) -> list[Object]:
    """What the nodes of one revision on different Pods find each other by; none for a graph in one Pod."""
    far = {
        node.name
        for node in predictor.graph.walk()
        if predictor.revision and node.endpoint and node.endpoint.service_host != LOCALHOST
    }
    objects = []
    for container in _node_containers(predictor):
        if container["name"] in far:
            shared = container_service_name(sdep.name, predictor, container["name"])
            name = revision_service_name(sdep.name, predictor, container["name"])
            label, selected = {service_label(container["name"]): shared}, {REVISION: predictor.revision}
            kinds = _kinds(predictor, container["name"])
            objects.append(_service(name, _ports(container), label, predictor, sdep, selected=selected, kinds=kinds))
    return objects


def _kinds(predictor: PredictorSpec, name: str) -> dict[str, str]:
    """The label that says what kind of node a container is."""
    return next(type_label(node) for node in predictor.graph.walk() if node.name == name)


def _node_containers(predictor: PredictorSpec) -> list[Json]:
    nodes = {node.name for node in predictor.graph.walk()}
    every = (container for component in predictor.component_specs for container in component.containers)
    return [container for container in every if container["name"] in nodes]


def _ports(container: Json) -> tuple[int, int]:
    return port_of(container, "http"), port_of(container, "grpc")


def entry_ports(predictor: PredictorSpec) -> tuple[int, int]:
    """(HTTP, gRPC) of the predictor Service: the orchestrator's, or without one the only node's."""
    if has_engine(predictor) or predictor.graph.endpoint is None:
        return HTTP_PORT, GRPC_PORT
    return predictor.graph.endpoint.http_port, predictor.graph.endpoint.grpc_port


def _entry(predictor: PredictorSpec, sdep: SeldonDeployment, selected: dict[str, str]) -> Object:
    name = predictor_service_name(sdep.name, predictor)
    service = _service(name, entry_ports(predictor), {"seldon-app": name}, predictor, sdep, selected=selected, kinds={})
    if (sdep.annotation(HEADLESS) or "false") != "false":
        service["spec"]["clusterIP"] = "None"
    return service


def _service(
    name: str,
    ports: tuple[int, int],
    label: dict[str, str],
    predictor: PredictorSpec,
    sdep: SeldonDeployment,
    *,
    selected: dict[str, str],
    kinds: dict[str, str],
) -> Object:
    numbered = [
        {"name": kind, "port": number, "targetPort": number, "protocol": "TCP"}
        for kind, number in zip(("http", "grpc"), ports, strict=True)
        if number
    ]
    shadow = {SHADOW: "true"} if predictor.shadow else {}
    meta = metadata(name, sdep, annotations=dict(predictor.annotations), labels={**label, **kinds, **shadow})
    spec = {"type": "ClusterIP", "selector": {**label, **selected}, "ports": numbered}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
