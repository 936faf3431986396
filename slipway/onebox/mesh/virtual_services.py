"""VirtualServices → routes. What is ready decides effective weights; an unsupported field is a finding, never a guess."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from slipway.onebox.mesh.destination_rules import DestinationRule
from slipway.onebox.mesh.faults import read_fault
from slipway.onebox.mesh.fields import HEADER_NAME, Reader
from slipway.onebox.mesh.ir import (
    Cluster,
    ClusterPolicy,
    HeaderChanges,
    Mirror,
    Reason,
    Retries,
    Route,
    RouteMatch,
    WeightedCluster,
)
from slipway.onebox.mesh.limits import MAX_HOST_CHARS, MAX_REASON_CHARS, RETRIES, ROUTE_TIMEOUT_S
from slipway.onebox.mesh.matches import read_match, read_rewrite
from slipway.onebox.mesh.own_knobs import OwnKnobs
from slipway.onebox.mesh.services import Key, Service, ServicePort, cluster_name, resolve_host
from slipway.onebox.mesh.sleepers import Rest

HTTP_FIELDS = {
    "name",
    "match",
    "route",
    "rewrite",
    "timeout",
    "retries",
    "mirror",
    "mirrorPercentage",
    "mirrors",
    "headers",
    "fault",
}
DEFAULT_RETRY = Retries()
GRPC_RETRY = Retries(on=(*DEFAULT_RETRY.on, "unavailable"))
_HEADER_VALUE = re.compile(r"(?:[^%]|%%|%[A-Z0-9_]+(?:\([^)]*\))?(?::[0-9]+)?%)*")
"""With Envoy's command operators; which of them there are, it says itself."""
_RETRY_WORD = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True)
class Absent:
    """Why a `destination` leads nowhere: the field of it that names what is not there, and a sentence."""

    field: str
    message: str
    reason: Reason


@dataclass
class Destinations:
    """Looks Services and subsets up and collects the clusters that routes need."""

    services: Mapping[Key, Service]
    rules: Mapping[Key, DestinationRule]
    rest: Rest = field(default_factory=Rest)
    clusters: dict[str, Cluster] = field(default_factory=dict)

    def cluster(self, reader: Reader) -> Cluster | Absent:
        """The cluster of a `destination`; with a finding why there is none."""
        reader.only({"host", "subset", "port"})
        found = self._found(reader)
        if isinstance(found, Absent):
            reader.report(found.field, f"{found.message}: it gets no traffic", found.reason)
        return found

    def _found(self, reader: Reader) -> Cluster | Absent:
        host = reader.text("host")[:MAX_HOST_CHARS]
        key = resolve_host(host, reader.namespace)
        service = self.services.get(key) if key else None
        if key is None or service is None:
            return Absent("host", f"there is no Service {host!r}", "NotFound")
        number = reader.child("port").data.get("number")
        port = service.port(number)
        if port is None:
            known = ", ".join(f"{item.number} ({item.name})" for item in service.ports)
            return Absent("port", f"Service {host!r} {_no_port(number)}; it has: {known or 'none'}", "Invalid")
        return self._subset(reader, key, service, port)

    def _subset(self, reader: Reader, key: Key, service: Service, port: ServicePort) -> Cluster | Absent:
        name = reader.text("subset")[:MAX_HOST_CHARS]
        rule = self.rules.get(key)
        subset = rule.subsets.get(name) if rule else None
        if name and subset is None:
            message = f"no DestinationRule of {service.host} has a subset {name!r}"
            return Absent("subset", message, "Invalid" if rule else "NotFound")
        policy = subset.policy if subset else rule.policy if rule else ClusterPolicy()
        labels = subset.labels if subset else {}
        cluster = Cluster(
            cluster_name(service, port, name),
            port.protocol,
            service.ready(port, labels),
            policy,
            predictor=name,
            version=labels.get("version", ""),
        )
        cluster = self.rest.in_place_of(cluster, service, port, labels)
        return self.clusters.setdefault(cluster.name, cluster)


def _no_port(number: Any) -> str:
    return (
        "has several ports, and `port.number` says none of them"
        if number is None
        else f"has no port {str(number)[:80]}"
    )


def effective_weights(declared: Sequence[tuple[Cluster | None, int]]) -> tuple[WeightedCluster, ...]:
    """Weights above 0 of what is ready. Leaving the others out shares their part in proportion to the declared weights.

    A lone destination gets everything whatever its weight, as in Istio.
    """
    weights = [(declared[0][0], 1)] if len(declared) == 1 else declared
    return tuple(
        WeightedCluster(cluster.name, weight)
        for cluster, weight in weights
        if cluster and cluster.endpoints and weight > 0
    )


def read_http_routes(
    reader: Reader, destinations: Destinations, gateways: frozenset[str], knobs: OwnKnobs
) -> list[Route]:
    """The routes of a VirtualService for one of ``gateways`` (``namespace/name``), in its order."""
    routes: list[Route] = []
    for index, http in enumerate(reader.children("http")):
        if not http.only(HTTP_FIELDS) and http.data.keys() & {"redirect", "directResponse", "delegate"}:
            continue
        matches: list[Reader | None] = [*http.children("match")] or [None]
        for position, item in enumerate(matches):
            if item is not None and item.items("gateways") and not _bound(item, gateways):
                continue
            match = RouteMatch() if item is None else read_match(item)
            name = f"{reader.namespace}/{reader.name}/{index}/{position}"
            if match is not None:
                routes.append(_route(http, match, name, destinations=destinations, knobs=knobs))
            else:  # for what else is to be found in it
                _route(http, RouteMatch(), name, destinations=replace(destinations, clusters={}), knobs=knobs)
    return routes


def _bound(reader: Reader, gateways: frozenset[str]) -> bool:
    names = {qualified(str(name), reader.namespace) for name in reader.items("gateways")}
    return bool(names & gateways)


def qualified(gateway: str, namespace: str) -> str:
    """``name`` means the VirtualService's own namespace; ``mesh`` is itself."""
    return gateway if "/" in gateway or gateway == "mesh" else f"{namespace}/{gateway}"


def _route(http: Reader, match: RouteMatch, name: str, *, destinations: Destinations, knobs: OwnKnobs) -> Route:
    found: list[tuple[Cluster | Absent, int]] = []
    for item in http.children("route"):
        item.only({"destination", "weight"})
        found.append((destinations.cluster(item.child("destination")), item.number("weight", 0)))
    declared = [(None if isinstance(one, Absent) else one, weight) for one, weight in found]
    if len(declared) != 1 and not any(weight for _, weight in declared):
        http.report("route", "no destination has a weight above 0: requests get 503")
    is_grpc = any(cluster.protocol == "grpc" for cluster, _ in declared if cluster)
    headers = http.child("headers")
    headers.only({"request", "response"})
    is_sticky = knobs.sticky is not None and len(declared) > 1
    return Route(
        name=name,
        match=match,
        destinations=knobs.spread(declared) if is_sticky else effective_weights(declared) if declared else (),
        mirrors=_mirrors(http, destinations),
        rewrite=read_rewrite(http.child("rewrite"), match),
        retries=_retries(http, is_grpc=is_grpc),
        timeout_s=http.seconds("timeout", ROUTE_TIMEOUT_S) or ROUTE_TIMEOUT_S,
        request_headers=_headers(headers.child("request")),
        response_headers=_headers(headers.child("response")),
        is_grpc=is_grpc,
        deployment=_deployment(http, destinations),
        sticky=knobs.sticky if is_sticky else None,
        rate_limit=knobs.rate_limit,
        fault=read_fault(http.child("fault"), _percent),
        absent=_absent(found),
        wakes=any(cluster.wakes for cluster, _ in declared if cluster),
    )


def _absent(found: Sequence[tuple[Cluster | Absent, int]]) -> str:
    """Why there is nobody to wait for: of the first destination, where all that have a weight lead nowhere."""
    meant = [one for one, weight in found if weight > 0 or len(found) == 1]
    missing = [one.message for one in meant if isinstance(one, Absent)]
    return missing[0][:MAX_REASON_CHARS] if missing and len(missing) == len(meant) else ""


def _deployment(http: Reader, destinations: Destinations) -> tuple[str, str]:
    """Of the first destination's Service."""
    first = next(http.children("route"), None)
    key = resolve_host(first.child("destination").text("host"), http.namespace) if first else None
    service = destinations.services.get(key) if key else None
    return (service.namespace, service.deployment) if service and service.deployment else ("", "")


def _mirrors(http: Reader, destinations: Destinations) -> tuple[Mirror, ...]:
    found: list[tuple[Cluster | Absent, float]] = []
    if http.data.get("mirror"):
        found.append((destinations.cluster(http.child("mirror")), _percent(http, "mirrorPercentage")))
    for item in http.children("mirrors"):
        item.only({"destination", "percentage"})
        found.append((destinations.cluster(item.child("destination")), _percent(item, "percentage")))
    return tuple(
        Mirror(cluster.name, percent) for cluster, percent in found if isinstance(cluster, Cluster) and percent > 0
    )


def _percent(reader: Reader, key: str) -> float:
    """Istio's ``{value: 0..100}``; absent means all, and what cannot be read none."""
    value = reader.child(key).data.get("value", 100.0) if reader.data.get(key) is not None else 100.0
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100:
        return float(value)
    reader.report(key, f"{value!r} is not between 0 and 100: read as 0")
    return 0.0


def _retries(http: Reader, *, is_grpc: bool) -> Retries | None:
    default = GRPC_RETRY if is_grpc else DEFAULT_RETRY
    reader = http.child("retries")
    if not reader.data:
        return default
    reader.only({"attempts", "perTryTimeout", "retryOn"})
    attempts = reader.number("attempts", RETRIES)
    words = [word.strip() for word in reader.text("retryOn").split(",") if word.strip()]
    bad = [word for word in words if not _RETRY_WORD.fullmatch(word)]
    if bad:
        reader.report("retryOn", f"{', '.join(bad)}: not a retry condition: the defaults are used")
        words = []
    codes = tuple(int(word) for word in words if word.isdigit())
    on = tuple(word for word in words if not word.isdigit())
    if codes and "retriable-status-codes" not in on:
        on = (*on, "retriable-status-codes")
    if attempts == 0:
        return None
    per_try = reader.seconds("perTryTimeout", default.per_try_timeout_s)
    return Retries(attempts, per_try, on or default.on, codes or default.status_codes)


def _headers(reader: Reader) -> HeaderChanges:
    reader.only({"set", "add", "remove"})
    for key in ("set", "add"):
        child = reader.child(key)
        for name in sorted(name for name in child.data if not HEADER_NAME.fullmatch(str(name))):
            child.report(str(name), "is not a header name: it is left out")
    return HeaderChanges(
        _pairs(reader.child("set")),
        _pairs(reader.child("add")),
        tuple(sorted(str(name) for name in reader.items("remove") if HEADER_NAME.fullmatch(str(name)))),
    )


def _pairs(reader: Reader) -> tuple[tuple[str, str], ...]:
    found = sorted((str(key), reader.text(key)) for key in reader.data if HEADER_NAME.fullmatch(str(key)))
    for name, value in found:
        if not _HEADER_VALUE.fullmatch(value):
            reader.report(
                name, f"{value[:80]!r} has a % that begins no command such as %PROTOCOL%: write %%: it is left out"
            )
    return tuple(pair for pair in found if _HEADER_VALUE.fullmatch(pair[1]))
