"""What Istio's webhook would refuse of an object by itself, in its form: DestinationRules and Gateways here, and the answer.

What depends on other objects is told by the mesh, as a cluster's gateway would find it. Pure.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from slipway.contract.causes import Cause
from slipway.onebox.api.checks import Review
from slipway.onebox.api.errors import Refused
from slipway.onebox.api.istio_fields import (
    DNS_LABEL,
    duration,
    each,
    host,
    mapping,
    percent,
    port,
    rows,
    shown,
    subset_name,
)
from slipway.onebox.api.istio_routes import virtual_service

Part = Mapping[str, Any]
GROUP = "networking.istio.io"
DENIED = 'admission webhook "validation.istio.io" denied the request: configuration is invalid: '
MAX_ERRORS = 20
"""Told of one object; what comes after them is not looked at."""
TLS_PROTOCOLS = ("HTTPS", "TLS")
PROTOCOLS = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB", *TLS_PROTOCOLS, "MONGO", "REDIS", "MYSQL", "TCP")
POLICIES = (
    "outlierDetection",
    "connectionPool",
    "loadBalancer",
    "tls",
    "portLevelSettings",
    "tunnel",
    "proxyProtocol",
    "retryBudget",
)


def destination_rule(obj: Part) -> Iterator[str]:
    spec = mapping(obj.get("spec"))
    yield from host(spec.get("host") or "", "host")
    yield from _policy(spec, "")
    seen: set[str] = set()
    for path, subset in each(spec, "subsets"):
        name = str(subset.get("name") or "")
        yield from subset_name(name, f"{path}.name")
        if name in seen:
            yield f"{path}.name: duplicate subset names: {shown(name)}"
        seen.add(name)
        yield from _policy(subset, f"{path}.")


def _policy(owner: Part, path: str) -> Iterator[str]:
    policy, at = owner.get("trafficPolicy"), f"{path}trafficPolicy"
    if not isinstance(policy, Mapping):
        return
    if not any(policy.get(name) is not None for name in POLICIES):
        yield f"{at}: traffic policy must have at least one field"
    pool = policy.get("connectionPool")
    if isinstance(pool, Mapping):
        if not any(pool.get(name) is not None for name in ("http", "tcp")):
            yield f"{at}.connectionPool: connection pool must have at least one field"
        yield from duration(mapping(pool.get("http")).get("idleTimeout"), f"{at}.connectionPool.http.idleTimeout")
        yield from duration(mapping(pool.get("tcp")).get("connectTimeout"), f"{at}.connectionPool.tcp.connectTimeout")
    outlier = mapping(policy.get("outlierDetection"))
    for name in ("interval", "baseEjectionTime"):
        yield from duration(outlier.get(name), f"{at}.outlierDetection.{name}")
    for name in ("maxEjectionPercent", "minHealthPercent"):
        yield from percent(outlier.get(name), f"{at}.outlierDetection.{name}")


def gateway(obj: Part) -> Iterator[str]:
    name, spec = str(obj["metadata"].get("name")), mapping(obj.get("spec"))
    if not DNS_LABEL.fullmatch(name):
        yield f"invalid gateway name: {shown(name)}"
    if not rows(spec, "servers"):
        yield "gateway must have at least one server"
    seen: set[str] = set()
    for path, server in each(spec, "servers"):
        yield from _server(server, path)
        known = str(mapping(server.get("port")).get("name") or "")
        if known and known in seen:
            yield f"{path}.port: port names in servers must be unique: duplicate name {shown(known)}"
        seen.add(known)


def _server(server: Part, path: str) -> Iterator[str]:
    if not rows(server, "hosts"):
        yield f"{path}: server config must contain at least one host"
    for index, item in enumerate(rows(server, "hosts")):
        yield from host(str(item).rpartition("/")[2], f"{path}.hosts[{index}]")
    declared = server.get("port")
    if not isinstance(declared, Mapping):
        yield f"{path}: port is required"
        return
    protocol = str(declared.get("protocol") or "").upper()
    if protocol not in PROTOCOLS:
        yield f"{path}.port: invalid protocol {shown(protocol)}, supported protocols are {', '.join(PROTOCOLS)}"
    yield from port(declared.get("number"), f"{path}.port")
    if not declared.get("name"):
        yield f"{path}.port: port name must be set"
    tls = server.get("tls")
    if protocol in TLS_PROTOCOLS and tls is None:
        yield f"{path}: server must have TLS settings for HTTPS/TLS protocols"
    elif protocol not in TLS_PROTOCOLS and mapping(tls).get("credentialName"):
        yield f"{path}: server cannot have TLS settings for plain text HTTP ports"


RULES: Mapping[str, Callable[[Part], Iterator[str]]] = {
    "VirtualService": virtual_service,
    "DestinationRule": destination_rule,
    "Gateway": gateway,
}


def reviews() -> dict[str, Review]:
    """By storage name: each raises Refused 400 as a cluster's API does for a webhook that says no."""
    return {f"{kind.lower()}s.{GROUP}": _review for kind in RULES}


def errors_of(obj: Part) -> list[str]:
    """MAX_ERRORS at most, each with its field, if it is about one; none of other kinds."""
    rule = RULES.get(obj["kind"]) if str(obj["apiVersion"]).startswith(f"{GROUP}/") else None
    return list(itertools.islice(rule(obj), MAX_ERRORS)) if rule else []


def _review(obj: Part) -> Sequence[Cause]:
    if errors := errors_of(obj):
        raise Refused(400, DENIED + _together(errors))
    return ()


def _together(errors: Sequence[str]) -> str:
    if len(errors) == 1:
        return errors[0]
    return "\n\t* ".join([f"{len(errors)} errors occurred:", *errors]) + "\n\n"
