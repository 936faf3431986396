"""Services, EndpointSlices and Pods → which endpoints are ready behind a Service port, and behind a subset of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.contract.ip_addresses import is_ip_address
from slipway.onebox.mesh.ir import Endpoint, Protocol

Object = Mapping[str, Any]
Key = tuple[str, str]
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
DEPLOYMENT_LABEL = "seldon-deployment-id"
MAX_PORT = 65535
CLUSTER_DOMAIN = "cluster.local"


@dataclass(frozen=True)
class ServicePort:
    name: str
    number: int
    protocol: Protocol


@dataclass(frozen=True)
class LabelledEndpoint:
    """A ready endpoint under the name of the port it serves, with the labels of its Pod."""

    port_name: str
    endpoint: Endpoint
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Service:
    """One Kubernetes Service. ``cluster_ip`` is None for a headless one, ``deployment`` the SeldonDeployment it is of.

    Without a selector (``selector`` is empty) somebody else writes its endpoints.
    """

    namespace: str
    name: str
    cluster_ip: str | None
    ports: tuple[ServicePort, ...]
    endpoints: tuple[LabelledEndpoint, ...]
    deployment: str = ""
    selector: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return f"{self.name}.{self.namespace}.svc.{CLUSTER_DOMAIN}"

    def port(self, number: int | None) -> ServicePort | None:
        """The port of that number; without a number the only one, if there is only one."""
        if number is None:
            return self.ports[0] if len(self.ports) == 1 else None
        return next((port for port in self.ports if port.number == number), None)

    def ready(self, port: ServicePort, selector: Mapping[str, str]) -> tuple[Endpoint, ...]:
        """The endpoints of ``port`` whose Pods carry every label of ``selector``, in address order."""
        chosen = (
            item.endpoint
            for item in self.endpoints
            if item.port_name == port.name and all(item.labels.get(key) == value for key, value in selector.items())
        )
        return tuple(sorted(set(chosen)))


def index_services(services: Iterable[Object], slices: Iterable[Object], pods: Iterable[Object]) -> dict[Key, Service]:
    """``(namespace, name)`` → Service, in that order."""
    labels = {_key(pod): pod["metadata"].get("labels") or {} for pod in pods}
    found: dict[Key, list[LabelledEndpoint]] = {}
    for item in slices:
        meta = item["metadata"]
        key = (meta.get("namespace", ""), (meta.get("labels") or {}).get(SERVICE_NAME_LABEL, ""))
        found.setdefault(key, []).extend(_ready_endpoints(item, labels))
    return {_key(item): _service(item, tuple(found.get(_key(item), ()))) for item in sorted(services, key=_key)}


def resolve_host(host: str, namespace: str) -> Key | None:
    """``name``, ``name.namespace`` or any longer form of a Service's host → its key; None for other hosts."""
    parts = host.removesuffix(".").split(".")
    if len(parts) == 1:
        return namespace, parts[0]
    if len(parts) > 2 and ".".join(parts[2:]) not in {"svc", f"svc.{CLUSTER_DOMAIN}"}:
        return None
    return parts[1], parts[0]


def cluster_name(service: Service, port: ServicePort, subset: str) -> str:
    """As Istio names it: ``outbound|<port>|<subset>|<host>``."""
    return f"outbound|{port.number}|{subset}|{service.host}"


def _service(item: Object, endpoints: tuple[LabelledEndpoint, ...]) -> Service:
    namespace, name = _key(item)
    spec = item.get("spec") or {}
    address = spec.get("clusterIP")
    ports = tuple(
        ServicePort(str(port.get("name") or ""), int(port["port"]), _protocol(port))
        for port in spec.get("ports") or ()
        if port.get("protocol", "TCP") == "TCP"
    )
    deployment = str((item["metadata"].get("labels") or {}).get(DEPLOYMENT_LABEL) or "")
    cluster_ip = None if address in {None, "", "None"} else str(address)
    return Service(namespace, name, cluster_ip, ports, endpoints, deployment, spec.get("selector") or {})


def _protocol(port: Object) -> Protocol:
    """Istio's explicit protocol selection: ``appProtocol``, else the port name up to its first hyphen."""
    word = str(port.get("appProtocol") or str(port.get("name") or "").partition("-")[0]).lower()
    if word in {"grpc", "http2", "kubernetes.io/h2c"}:
        return "grpc"
    return "http" if word == "http" else "tcp"


def _ready_endpoints(item: Object, labels: Mapping[Key, Mapping[str, str]]) -> Iterable[LabelledEndpoint]:
    namespace = item["metadata"].get("namespace", "")
    ports = [(str(port.get("name") or ""), port.get("port")) for port in item.get("ports") or ()]
    for entry in item.get("endpoints") or ():
        if (entry.get("conditions") or {}).get("ready") is False:  # absent means ready
            continue
        target = entry.get("targetRef") or {}
        name_of_pod = str(target.get("name") or "")
        pod = labels.get((target.get("namespace") or namespace, name_of_pod), {})
        for address in entry.get("addresses") or ():
            for name, number in ports:
                if _is_endpoint(address, number):
                    yield LabelledEndpoint(name, Endpoint(str(address), int(number), name_of_pod), pod)


def _is_endpoint(address: Any, port: Any) -> bool:
    """One that is none would make Envoy refuse its whole cluster."""
    return is_ip_address(address) and isinstance(port, int) and 0 < port <= MAX_PORT


def _key(item: Object) -> Key:
    meta = item["metadata"]
    return meta.get("namespace", ""), meta["name"]
