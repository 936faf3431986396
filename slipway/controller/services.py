"""Services of a predictor and of its node containers (contract section 2.4)."""

from __future__ import annotations

from slipway.contract.defaulting import port_of
from slipway.contract.names import container_service_name, predictor_service_name
from slipway.contract.sdep import PredictorSpec, SeldonDeployment
from slipway.controller.deployments import has_engine
from slipway.controller.meta import GRPC_PORT, HTTP_PORT, Object, metadata

HEADLESS = "seldon.io/headless-svc"


def services(predictor: PredictorSpec, sdep: SeldonDeployment) -> list[Object]:
    """The entry of the predictor, then one per node container."""
    objects = [_entry(predictor, sdep)]
    nodes = {node.name for node in predictor.graph.walk()}
    for component in predictor.component_specs:
        for container in component.containers:
            if container["name"] in nodes:
                name = container_service_name(sdep.name, predictor, container["name"])
                ports = (port_of(container, "http"), port_of(container, "grpc"))
                objects.append(_service(name, ports, {f"seldon-app-svc-{container['name']}": name}, predictor, sdep))
    return objects


def entry_ports(predictor: PredictorSpec) -> tuple[int, int]:
    """(HTTP, gRPC) of the predictor Service: the orchestrator's, or without one the only node's."""
    if has_engine(predictor) or predictor.graph.endpoint is None:
        return HTTP_PORT, GRPC_PORT
    return predictor.graph.endpoint.http_port, predictor.graph.endpoint.grpc_port


def _entry(predictor: PredictorSpec, sdep: SeldonDeployment) -> Object:
    name = predictor_service_name(sdep.name, predictor)
    service = _service(name, entry_ports(predictor), {"seldon-app": name}, predictor, sdep)
    if (sdep.annotation(HEADLESS) or "false") != "false":
        service["spec"]["clusterIP"] = "None"
    return service


def _service(
    name: str, ports: tuple[int, int], selector: dict[str, str], predictor: PredictorSpec, sdep: SeldonDeployment
) -> Object:
    numbered = [
        {"name": kind, "port": number, "targetPort": number, "protocol": "TCP"}
        for kind, number in zip(("http", "grpc"), ports, strict=True)
        if number
    ]
    meta = metadata(name, sdep, annotations=dict(predictor.annotations), labels=selector)
    spec = {"type": "ClusterIP", "selector": selector, "ports": numbered}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
