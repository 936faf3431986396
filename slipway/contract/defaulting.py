"""What a SeldonDeployment leaves unsaid: types, ports, hosts (contract sections 1.3 and 1.8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from slipway.contract.graph import BUILT_IN, UNKNOWN_IMPLEMENTATION
from slipway.contract.names import container_service_name, service_host
from slipway.contract.predictor_servers import Servers, image_of
from slipway.contract.sdep import ComponentSpec, Endpoint, Json, PredictiveUnit, PredictorSpec, SeldonDeployment

SEPARATE_ENGINE = "seldon.io/engine-separate-pod"


def is_prepackaged(implementation: str) -> bool:
    """Whether the name stands for a server that the platform brings."""
    return bool(implementation) and implementation not in BUILT_IN


def has_separate_engine(sdep: SeldonDeployment) -> bool:
    return (sdep.annotations.get(SEPARATE_ENGINE) or "").lower() == "true"


@dataclass(frozen=True)
class PortPlan:
    """Where the numbers of node containers begin, and what their metrics port is called: an installation's choice."""

    http: int = 9000
    grpc: int = 9500
    metrics: int = 6000
    metrics_name: str = "metrics"


@dataclass
class _Ports:
    """Numbers given out so far; one counter and one name map for the whole SeldonDeployment."""

    http: int
    grpc: int
    metrics: int
    metrics_name: str
    given: dict[str, tuple[int, int]] = field(default_factory=dict)

    def of(self, container: str) -> tuple[int, int]:
        if container not in self.given:
            self.given[container] = (self.http, self.grpc)
            self.http, self.grpc = self.http + 1, self.grpc + 1
        return self.given[container]

    def next_metrics(self) -> int:
        self.metrics += 1
        return self.metrics - 1


def default(
    sdep: SeldonDeployment, *, predictor_servers: Servers | None = None, plan: PortPlan | None = None
) -> SeldonDeployment:
    """Every node with type, implementation and endpoint; every node's container with its ports.

    ``predictor_servers``: image by prepackaged implementation and protocol.
    """
    plan = plan or PortPlan()
    ports = _Ports(plan.http, plan.grpc, plan.metrics, plan.metrics_name)
    servers = {name: image_of(predictor_servers or {}, name, sdep.protocol) for name in predictor_servers or {}}
    return replace(
        sdep,
        protocol=sdep.protocol or "seldon",
        transport=sdep.transport or "rest",
        server_type=sdep.server_type or "rpc",
        predictors=tuple(_predictor(predictor, sdep, ports, servers) for predictor in sdep.predictors),
    )


def _predictor(
    predictor: PredictorSpec, sdep: SeldonDeployment, ports: _Ports, servers: Mapping[str, str]
) -> PredictorSpec:
    graph = _typed(predictor.graph)
    nodes = {node.name: node for node in graph.walk()}
    components = [replace(item, spec={**item.spec, "containers": _copied(item)}) for item in predictor.component_specs]
    for container in _containers(components):
        _give_ports(container, ports, is_node=container["name"] in nodes)
    for node in nodes.values():
        if is_prepackaged(node.implementation):
            _add_server(node, components, ports, servers)
    predictor = replace(
        predictor,
        component_specs=tuple(components),
        labels={"version": predictor.name, **predictor.labels},
        graph=graph,
    )
    return replace(predictor, graph=_placed(graph, predictor, sdep))


def _copied(component: ComponentSpec) -> list[dict[str, Any]]:
    return [
        {**container, "ports": [dict(port) for port in container.get("ports") or ()]}
        for container in component.containers
    ]


def _containers(components: list[ComponentSpec]) -> Iterator[dict[str, Any]]:
    for component in components:
        yield from component.spec["containers"]


def _typed(node: PredictiveUnit) -> PredictiveUnit:
    kind = node.type
    if not (node.type or node.methods or node.implementation) or is_prepackaged(node.implementation):
        kind = "MODEL"
    return replace(
        node,
        type=kind,
        implementation=node.implementation or UNKNOWN_IMPLEMENTATION,
        children=tuple(_typed(child) for child in node.children),
    )


def _give_ports(container: dict[str, Any], ports: _Ports, *, is_node: bool) -> None:
    http, grpc = ports.of(container["name"])  # a container that is no node takes its numbers too
    if not is_node:
        return
    named = {port.get("name"): port for port in container["ports"]}
    for name, number in (("http", http), ("grpc", grpc)):
        if name not in named:
            container["ports"].append({"name": name, "containerPort": number, "protocol": "TCP"})
    if ports.metrics_name not in named:
        container["ports"].append(
            {"name": ports.metrics_name, "containerPort": ports.next_metrics(), "protocol": "TCP"}
        )


def _add_server(
    node: PredictiveUnit, components: list[ComponentSpec], ports: _Ports, servers: Mapping[str, str]
) -> None:
    """A prepackaged node's container, in the first componentSpec; one that is there keeps what it says."""
    for container in _containers(components):
        if container["name"] == node.name:
            if not container.get("image"):
                container["image"] = servers.get(node.implementation, "")
            return
    if not components:
        components.append(ComponentSpec(spec={"containers": []}))
    container = {"name": node.name, "image": servers.get(node.implementation, ""), "ports": []}
    _give_ports(container, ports, is_node=True)
    components[0].spec["containers"].append(container)


def port_of(container: Json, name: str) -> int:
    """The number of a container's named port, 0 without one, or where that port says none."""
    named: Json = next((port for port in container.get("ports") or () if port.get("name") == name), {})
    number = named.get("containerPort")
    return number if isinstance(number, int) else 0


def _placed(node: PredictiveUnit, predictor: PredictorSpec, sdep: SeldonDeployment) -> PredictiveUnit:
    children = tuple(_placed(child, predictor, sdep) for child in node.children)
    for index, component in enumerate(predictor.component_specs):
        for container in component.containers:
            if container["name"] == node.name:
                endpoint = _endpoint(node, container, predictor, sdep, is_beside=index == 0)
                return replace(node, endpoint=endpoint, children=children)
    return replace(node, children=children)


def _endpoint(
    node: PredictiveUnit, container: Json, predictor: PredictorSpec, sdep: SeldonDeployment, *, is_beside: bool
) -> Endpoint:
    kind = node.endpoint.type if node.endpoint else ""
    http, grpc = port_of(container, "http"), port_of(container, "grpc")
    is_grpc = kind == "GRPC" or sdep.transport == "grpc"
    if is_beside and not has_separate_engine(sdep):
        host = "localhost"
    else:
        host = service_host(container_service_name(sdep.name, predictor, node.name), sdep.namespace)
    return Endpoint(host, grpc if is_grpc else http, kind, http, grpc)
