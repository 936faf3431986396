"""Services: their defaults, and what Kubernetes refuses of them (pkg/apis/core/validation)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from slipway.contract.causes import Cause
from slipway.contract.field_causes import duplicate, invalid, quote, required, unsupported
from slipway.contract.pod_rules import LABEL_WORDS, is_label
from slipway.contract.port_rules import PROTOCOLS, port_number, port_reference
from slipway.onebox.api.columns import get

Object = dict[str, Any]
TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
AFFINITIES = ("ClientIP", "None")


def default_service(obj: Object) -> None:
    spec = obj["spec"]
    for port in spec.get("ports") or ():
        port["targetPort"] = port.get("targetPort") or port.get("port")
    if spec.get("type") != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")


def check_service(new: Object, old: Object | None) -> Sequence[Cause]:
    """A type that there is, ports once each, and an address that stays."""
    spec = new["spec"]
    causes = [*_choices(spec), *_ports(spec)]
    if old is not None and get(old, "spec.clusterIP") and spec.get("clusterIP") != get(old, "spec.clusterIP"):
        shown = f"[]string{{{quote(spec.get('clusterIP', ''))}}}"
        causes.append(Cause("spec.clusterIPs[0]", f"Invalid value: {shown}: may not change once set"))
    return causes


def _choices(spec: Object) -> Iterator[Cause]:
    if not spec.get("ports") and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield required("spec.ports")
    for name, known in (("type", TYPES), ("sessionAffinity", AFFINITIES)):
        if spec.get(name) and spec[name] not in known:
            yield unsupported(f"spec.{name}", spec[name], known)


def _ports(spec: Object) -> Iterator[Cause]:
    ports = spec.get("ports") or ()
    names: set[str] = set()
    taken: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        path, name, protocol = f"spec.ports[{index}]", port.get("name") or "", port.get("protocol") or "TCP"
        if not name and len(ports) > 1:
            yield required(f"{path}.name")
        elif name and not is_label(name):
            yield invalid(f"{path}.name", name, LABEL_WORDS)
        elif name in names:
            yield duplicate(f"{path}.name", quote(name))
        names |= {name} - {""}
        number = port.get("port", 0)
        yield from port_number(number, f"{path}.port")
        if protocol not in PROTOCOLS:
            yield unsupported(f"{path}.protocol", protocol, PROTOCOLS)
        yield from port_reference(port.get("targetPort", number), f"{path}.targetPort")
        if (protocol, number) in taken:
            yield duplicate(path, _go_port(protocol, number))
        taken.add((protocol, number))


def _go_port(protocol: str, number: int) -> str:
    target = 'intstr.IntOrString{Type:0, IntVal:0, StrVal:""}'
    return f'core.ServicePort{{Name:"", Protocol:"{protocol}", AppProtocol:(*string)(nil), Port:{number}, TargetPort:{target}, NodePort:0}}'
