"""DestinationRules → the subsets of a Service and how connections to it behave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from slipway.onebox.mesh.fields import Reader
from slipway.onebox.mesh.ir import Balancing, ClusterPolicy, Finding, OutlierDetection
from slipway.onebox.mesh.layout import ENVOYS
from slipway.onebox.mesh.services import Key, resolve_host

MIN_PERIOD_S = 0.001  # as in Istio; Envoy refuses a cluster with 0
_BALANCING: Mapping[str, Balancing] = {
    "UNSPECIFIED": "LEAST_REQUEST",
    "LEAST_CONN": "LEAST_REQUEST",
    "LEAST_REQUEST": "LEAST_REQUEST",
    "ROUND_ROBIN": "ROUND_ROBIN",
    "RANDOM": "RANDOM",
}


@dataclass(frozen=True)
class Subset:
    labels: Mapping[str, str]
    policy: ClusterPolicy


@dataclass(frozen=True)
class DestinationRule:
    """``subsets`` by name; ``policy`` for traffic that names none."""

    policy: ClusterPolicy
    subsets: Mapping[str, Subset]


def read_destination_rules(objects: Iterable[Mapping[str, Any]], findings: list[Finding]) -> dict[Key, DestinationRule]:
    """By the Service they are about. The oldest rule of a Service wins, as in Istio; later ones are reported."""
    rules: dict[Key, DestinationRule] = {}
    for item in sorted(objects, key=_age):
        reader = Reader.of(item, findings)
        host = reader.text("host")
        key = resolve_host(host, reader.namespace)
        reader.only({"host", "subsets", "trafficPolicy"})
        if key is None:
            reader.elsewhere("host", f"{host!r} is not the host of a Service")
        elif key in rules:
            reader.report("host", f"{host!r} has an older DestinationRule: this one has no effect")
        else:
            rules[key] = _rule(reader)
    return rules


def _age(item: Mapping[str, Any]) -> tuple[str, str, str]:
    meta = item["metadata"]
    return str(meta.get("creationTimestamp") or ""), meta.get("namespace", ""), meta["name"]


def _rule(reader: Reader) -> DestinationRule:
    policy = _policy(reader.child("trafficPolicy"), ClusterPolicy())
    subsets = {}
    for item in reader.children("subsets"):
        item.only({"name", "labels", "trafficPolicy"})
        labels = {str(key): str(value) for key, value in item.child("labels").data.items()}
        subsets[item.text("name")] = Subset(labels, _policy(item.child("trafficPolicy"), policy))
    return DestinationRule(policy, subsets)


def _policy(reader: Reader, base: ClusterPolicy) -> ClusterPolicy:
    reader.only({"connectionPool", "outlierDetection", "loadBalancer"})
    pool = reader.child("connectionPool")
    pool.only({"http", "tcp"})
    http, tcp = pool.child("http"), pool.child("tcp")
    http.only({"idleTimeout", "http1MaxPendingRequests", "http2MaxRequests"})
    tcp.only({"maxConnections", "connectTimeout"})
    return replace(
        base,
        idle_s=http.seconds("idleTimeout", base.idle_s),
        max_pending=http.number("http1MaxPendingRequests", base.max_pending),
        max_requests=_share_of_one(http.number("http2MaxRequests", len(ENVOYS) * base.max_requests)),
        max_connections=tcp.number("maxConnections", base.max_connections),
        connect_timeout_s=tcp.seconds("connectTimeout", base.connect_timeout_s, least=MIN_PERIOD_S),
        balancing=_balancing(reader.child("loadBalancer"), base.balancing),
        outlier=_outlier(reader.child("outlierDetection")) or base.outlier,
    )


def _share_of_one(requests: int) -> int:
    """What one Envoy may let pass: each counts for itself, and connections are dealt out to all of them."""
    return -(-requests // len(ENVOYS))


def _balancing(reader: Reader, default: Balancing) -> Balancing:
    reader.only({"simple"})
    word = reader.text("simple")
    if word and word not in _BALANCING:
        reader.report("simple", f"{word!r} is not one of {', '.join(sorted(_BALANCING))}: {default} is used")
    return _BALANCING.get(word, default)


def _outlier(reader: Reader) -> OutlierDetection | None:
    if not reader.data:
        return None
    reader.only(
        {"consecutive5xxErrors", "consecutiveGatewayErrors", "interval", "baseEjectionTime", "maxEjectionPercent"}
    )
    default = OutlierDetection()
    gateway = reader.data.get("consecutiveGatewayErrors")
    return OutlierDetection(
        consecutive_5xx=reader.number("consecutive5xxErrors", 5),
        consecutive_gateway_errors=None if gateway is None else reader.number("consecutiveGatewayErrors", 0),
        interval_s=reader.seconds("interval", default.interval_s, least=MIN_PERIOD_S),
        base_ejection_s=reader.seconds("baseEjectionTime", default.base_ejection_s, least=MIN_PERIOD_S),
        max_ejection_percent=min(reader.number("maxEjectionPercent", default.max_ejection_percent), 100),
    )
