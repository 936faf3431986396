"""Deployments that may rest at zero replicas, and who answers in their place: the activator, which wakes them.

A ScaledObject (KEDA's kind; a componentSpec's ``kedaSpec`` makes one) says that its Deployment may rest. While no
endpoint of a Service is ready and such a Deployment stands behind it, the Service's cluster has the way to the activator
as its one endpoint. So a predictor at rest keeps its share of a canary, and a warm one is reached as any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from slipway.contract.keda import may_rest
from slipway.onebox.mesh.ir import Cluster, Endpoint, Protocol
from slipway.onebox.mesh.services import Service, ServicePort

Object = Mapping[str, Any]
SOCKET_PORT = 0
"""An endpoint with this port is a Unix socket: its address is a path."""
LISTENER_PORT = -1
"""An endpoint with this port is a listener inside the same Envoy: its address is a name."""


@dataclass(frozen=True, order=True)
class Sleeper:
    """A Deployment that may rest at zero, with the labels that its Pods will have."""

    namespace: str
    name: str
    labels: Mapping[str, str] = field(compare=False)


@dataclass(frozen=True)
class Target:
    """What a request in the activator's hands is for: a port of a Service, and the Deployment to wake."""

    namespace: str
    deployment: str
    service: str
    port: int

    @property
    def text(self) -> str:
        """Its form in a header."""
        return f"{self.namespace}/{self.deployment}/{self.service}/{self.port}"


def waking_listener(protocol: Protocol) -> str:
    """The name of the listener that leads to the activator's socket."""
    return f"waking-{protocol}"


def parse_target(text: str) -> Target | None:
    """The opposite of ``text``; None for what is none."""
    parts = text.split("/")
    if len(parts) != 4 or not all(parts) or not (parts[3].isascii() and parts[3].isdigit() and len(parts[3]) <= 5):
        return None
    return Target(parts[0], parts[1], parts[2], int(parts[3]))


def target_name(scaled_object: Object) -> str:
    """The Deployment that a ScaledObject is about; '' where it is about another kind."""
    reference = (scaled_object.get("spec") or {}).get("scaleTargetRef") or {}
    return str(reference.get("name") or "") if reference.get("kind", "Deployment") == "Deployment" else ""


def read_sleepers(scaled_objects: Iterable[Object], deployments: Iterable[Object]) -> tuple[Sleeper, ...]:
    """In the order of their names."""
    labels = {
        (item["metadata"].get("namespace", ""), item["metadata"]["name"]): (
            ((item.get("spec") or {}).get("template") or {}).get("metadata") or {}
        ).get("labels")
        or {}
        for item in deployments
    }
    keys = {
        (item["metadata"].get("namespace", ""), target_name(item))
        for item in scaled_objects
        if may_rest(item.get("spec") or {})
    } & labels.keys()
    return tuple(Sleeper(*key, labels[key]) for key in sorted(keys))


def stands_behind(sleeper: Sleeper, service: Service, subset: Mapping[str, str]) -> bool:
    """Whether its Pods are chosen by the Service and by the labels of the subset."""
    wanted = {**service.selector, **subset}
    same_place = sleeper.namespace == service.namespace and bool(service.selector)
    return same_place and all(sleeper.labels.get(key) == value for key, value in wanted.items())


@dataclass(frozen=True)
class Rest:
    """Puts the activator where nothing is ready.

    ``sockets`` has the activator's for each protocol that it can hold; without them nobody is waited for.
    """

    sleepers: tuple[Sleeper, ...] = ()
    sockets: Mapping[Protocol, str] = field(default_factory=dict)

    def in_place_of(self, cluster: Cluster, service: Service, port: ServicePort, subset: Mapping[str, str]) -> Cluster:
        """``cluster`` itself while it has an endpoint, or where no Deployment behind it may rest."""
        if cluster.endpoints or cluster.protocol not in self.sockets:
            return cluster
        sleeper = next((item for item in self.sleepers if stands_behind(item, service, subset)), None)
        if sleeper is None:
            return cluster
        target = Target(sleeper.namespace, sleeper.name, service.name, port.number)
        patient = replace(cluster.policy, outlier=None)  # its refusals are no reason to leave who alone can wake it
        return replace(
            cluster,
            endpoints=(Endpoint(waking_listener(cluster.protocol), LISTENER_PORT),),
            policy=patient,
            wakes=target.text,
        )
