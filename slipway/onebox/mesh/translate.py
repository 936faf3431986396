"""Istio's objects, Services, EndpointSlices and Pods → the mesh as values. Pure: equal objects give an equal mesh."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from slipway.onebox.mesh.authentication import read_authentications
from slipway.onebox.mesh.authorization import read_policies
from slipway.onebox.mesh.destination_rules import DestinationRule, read_destination_rules
from slipway.onebox.mesh.fields import Reader
from slipway.onebox.mesh.gateways import HOST, HTTPS_PORT, Hosts, Servers, port_here, read_gateways
from slipway.onebox.mesh.ir import (
    Certificate,
    Cluster,
    ClusterPolicy,
    DirectResponse,
    Finding,
    Listener,
    Mesh,
    Protocol,
    Route,
    RouteMatch,
    SecureChain,
    TextMatch,
    VirtualHost,
)
from slipway.onebox.mesh.ir_security import JwtRule, Policy
from slipway.onebox.mesh.limits import MAX_COPIES, MAX_PAGE_BYTES
from slipway.onebox.mesh.own_knobs import read_own_knobs
from slipway.onebox.mesh.services import Key, Service, ServicePort, cluster_name, index_services
from slipway.onebox.mesh.sleepers import Rest, read_sleepers
from slipway.onebox.mesh.virtual_services import Destinations, qualified, read_http_routes
from slipway.onebox.mesh.waking import waking_clusters, waking_listeners

Object = Mapping[str, Any]
GATEWAY_LISTENER = "gateway"
SECURE_LISTENER = f"{GATEWAY_LISTENER}-tls-"
"""What the names of its HTTPS listeners begin with."""
ANY_HOST = "*"
PAGE_PATH = "/"
DEPLOYMENTS_PATH = "/slipway/deployments.json"


@dataclass(frozen=True)
class Objects:
    """What the API holds, in any order."""

    virtual_services: tuple[Object, ...] = ()
    destination_rules: tuple[Object, ...] = ()
    gateways: tuple[Object, ...] = ()
    services: tuple[Object, ...] = ()
    endpoint_slices: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    deployments: tuple[Object, ...] = ()
    scaled_objects: tuple[Object, ...] = ()
    request_authentications: tuple[Object, ...] = ()
    authorization_policies: tuple[Object, ...] = ()
    secrets: tuple[Object, ...] = ()


@dataclass(frozen=True)
class Site:
    """What one machine adds: the gateway's address, the page's file, the lowest port that a process here may bind.

    ``activator_sockets``: by protocol, where requests for what is at rest are held.
    ``trusted_authorities``: a file of those who sign certificates of the world's HTTPS; empty where there is none.
    """

    address: str
    port: int
    page: str
    lowest_port: int = 1024
    activator_sockets: Mapping[Protocol, str] = field(default_factory=dict)
    trusted_authorities: str = ""


def translate(objects: Objects, site: Site) -> Mesh:
    """The whole mesh from the whole state."""
    findings: list[Finding] = []
    services = index_services(objects.services, objects.endpoint_slices, objects.pods)
    rules = read_destination_rules(objects.destination_rules, findings)
    rest = Rest(read_sleepers(objects.scaled_objects, objects.deployments), site.activator_sockets)
    destinations = Destinations(services, rules, rest)
    servers = read_gateways(objects.gateways, objects.secrets, findings, site.port)
    served = _served(objects.virtual_services, servers, destinations, findings)
    listeners, clusters = _service_listeners(services, rules, rest, site=site, findings=findings)
    jwt_rules = read_authentications(
        objects.request_authentications, findings, services=services, trusted=site.trusted_authorities
    )
    policies = read_policies(objects.authorization_policies, findings)
    sockets = site.activator_sockets
    every = {**clusters, **waking_clusters(sockets), **bounded_copies(destinations.clusters, served.routes)}
    return Mesh(
        (
            Listener(GATEWAY_LISTENER, site.address, site.port, "http", jwt_rules=jwt_rules),
            *(_secure_listener(port, servers, site, jwt_rules) for port in served.secure),
            *listeners,
            *waking_listeners(sockets),
        ),
        _plain_hosts(served, policies, site),
        tuple(every[name] for name in sorted(every)),
        tuple(sorted(set(findings))),
        {secure_name(port): _secure_hosts(served, port, policies, site) for port in served.secure},
        tuple(_certificates(servers)),
    )


Routes = Mapping[str, list[Route]]
"""By host."""


@dataclass(frozen=True)
class _Served:
    """What plain HTTP routes and what it sends to HTTPS, and what each HTTPS port routes."""

    plain: Routes
    redirected: frozenset[str]
    secure: Mapping[int, Routes]

    @property
    def page_is_secure(self) -> bool:
        return ANY_HOST in self.redirected and HTTPS_PORT in self.secure

    @property
    def routes(self) -> Iterator[Route]:
        return chain.from_iterable(found for some in (self.plain, *self.secure.values()) for found in some.values())


def _served(
    objects: Iterable[Object], servers: Servers, destinations: Destinations, findings: list[Finding]
) -> _Served:
    """Redirected are, as in Istio, the servers' own hosts and those of the VirtualServices that are bound there."""
    items, every = tuple(objects), servers.every
    own = frozenset(chain.from_iterable(servers.redirects.values()))
    bound = _routes_by_host(items if own else (), servers.redirects, destinations, findings=[], every=every)
    redirected = own | (bound.keys() - {ANY_HOST})
    plain = _routes_by_host(
        items, servers.plain, destinations, findings=findings, every=every, narrow=ANY_HOST in redirected
    )
    return _Served(
        {host: routes for host, routes in plain.items() if host not in redirected},
        redirected,
        {
            port: _routes_by_host(items, hosts, destinations, findings=[], every=every)
            for port, hosts in sorted(servers.secure.items())
        },
    )


def _plain_hosts(served: _Served, policies: tuple[Policy, ...], site: Site) -> tuple[VirtualHost, ...]:
    """Where all is redirected, so are the gateway's own pages: the HTTPS port has them."""
    own, port = _own_routes(served.plain, site), port_here(HTTPS_PORT, site.port)
    hosts = [host for host in _hosts(served.plain, own, policies) if host.name not in served.redirected]
    to_https = (Route("slipway/https", RouteMatch(), retries=None, https_port=port),)
    hosts += [VirtualHost(host, _domains(host), to_https, policies) for host in served.redirected]
    return tuple(sorted(hosts, key=lambda host: host.name))


def _secure_hosts(served: _Served, port: int, policies: tuple[Policy, ...], site: Site) -> tuple[VirtualHost, ...]:
    routes = served.secure[port]
    return _hosts(routes, _own_routes(routes, site) if served.page_is_secure and port == HTTPS_PORT else (), policies)


def _certificates(servers: Servers) -> Iterator[Certificate]:
    every = (item.certificate for some in servers.chains.values() for item in some.values())
    yield from {(item.namespace, item.name): item for item in every}.values()


def _secure_listener(port: int, servers: Servers, site: Site, jwt_rules: tuple[JwtRule, ...]) -> Listener:
    chains = tuple(
        SecureChain(hosts, (tls.certificate.namespace, tls.certificate.name), tls.client, tls.versions)
        for hosts, tls in sorted(servers.chains[port].items())
    )
    number = port_here(port, site.port)
    return Listener(secure_name(port), site.address, number, "http", jwt_rules=jwt_rules, chains=chains)


def secure_name(port: int) -> str:
    """Of a listener, and of its routes."""
    return f"{SECURE_LISTENER}{port}"


def _hosts(
    routes: Mapping[str, list[Route]],
    own: tuple[Route, ...],
    policies: tuple[Policy, ...],
) -> tuple[VirtualHost, ...]:
    return tuple(
        VirtualHost(host, _domains(host), _ordered(routes.get(host, []), own), policies)
        for host in sorted({ANY_HOST, *routes})
    )


def _routes_by_host(
    objects: Iterable[Object],
    gateways: Hosts,
    destinations: Destinations,
    *,
    findings: list[Finding],
    every: Hosts,
    narrow: bool = False,
) -> dict[str, list[Route]]:
    """Oldest VirtualService first, as Istio merges them. ``every``: hosts of the Gateways on whatever port.

    ``narrow``: ``*`` of a VirtualService is no more than the hosts of its Gateways, because others have the rest.
    """
    routes: dict[str, list[Route]] = {}
    for item in sorted(objects, key=_age):
        reader = Reader.of(item, findings)
        everywhere = {"exportTo"} if ANY_HOST in reader.items("exportTo") else set()
        reader.only({"hosts", "gateways", "http", *everywhere})
        named = [qualified(str(name), reader.namespace) for name in reader.items("gateways")] or ["mesh"]
        for name in named:
            if name not in gateways:
                _unbound(reader, name)
        bound = frozenset(name for name in named if name in gateways)
        if not bound:
            continue
        allowed = frozenset(chain.from_iterable(gateways[name] for name in bound))
        own = read_http_routes(reader, destinations, bound, read_own_knobs(item, reader))
        for host in dict.fromkeys(_narrowed(map(str, reader.items("hosts")), allowed if narrow else frozenset())):
            if not HOST.fullmatch(host):
                reader.report("hosts", f"{host!r} is not *, *.domain or a host name")
            elif _allowed(host, allowed):
                routes.setdefault(host.lower(), []).extend(own)
            elif not _allowed(host, known := frozenset(chain.from_iterable(every[name] for name in bound))):
                reader.report("hosts", f"{host!r} is not among the hosts of its gateway ({', '.join(sorted(known))})")
    return routes


def _narrowed(hosts: Iterable[str], gateway_hosts: frozenset[str]) -> Iterator[str]:
    for host in hosts:
        if host == ANY_HOST and gateway_hosts and ANY_HOST not in gateway_hosts:
            yield from sorted(gateway_hosts)
        else:
            yield host


def _unbound(reader: Reader, name: str) -> None:
    if name == "mesh":
        reader.elsewhere("gateways", "mesh: routes between Pods are not supported on one machine: bind it to a Gateway")
    else:
        reader.lacks("gateways", f"{name}: there is no such Gateway: these routes are not served there")


def _allowed(host: str, gateway_hosts: frozenset[str]) -> bool:
    return any(
        ANY_HOST in {host, pattern} or host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]))
        for pattern in gateway_hosts
    )


def bounded_copies(clusters: Mapping[str, Cluster], routes: Iterable[Route]) -> dict[str, Cluster]:
    """What gets copies and no requests of its own has room for MAX_COPIES, or fewer where a DestinationRule says so."""
    used = list(routes)
    live = {item.cluster for route in used for item in route.destinations}
    copied = {mirror.cluster for route in used for mirror in route.mirrors} - live
    return {name: _bounded(cluster) if name in copied else cluster for name, cluster in clusters.items()}


def _bounded(cluster: Cluster) -> Cluster:
    policy = cluster.policy
    return replace(cluster, policy=replace(policy, max_requests=min(policy.max_requests, MAX_COPIES)))


def _ordered(routes: list[Route], own: tuple[Route, ...]) -> tuple[Route, ...]:
    """Istio's order: catch-all routes last. The gateway's own pages give way to any route that names their path."""
    named = [route for route in routes if not route.match.is_catch_all]
    catch_all = [route for route in routes if route.match.is_catch_all]
    return (*named, *own, *catch_all)


def _domains(host: str) -> tuple[str, ...]:
    return (host,) if host.startswith("*") else (host, f"{host}:*")


def _own_routes(routes: Mapping[str, list[Route]], site: Site) -> tuple[Route, ...]:
    get = (TextMatch(":method", "regex", "GET|HEAD"),)
    listing = json.dumps(deployments(chain.from_iterable(routes[host] for host in sorted(routes))), indent=1)
    if len(listing) > MAX_PAGE_BYTES:
        listing = json.dumps({"deployments": [], "error": f"the list is longer than {MAX_PAGE_BYTES} bytes"})
    page = DirectResponse(200, "text/html; charset=utf-8", file=site.page, headers=_PAGE_HEADERS)
    table = DirectResponse(200, "application/json", listing, headers=(("cache-control", "no-store"),))
    return (
        Route("slipway/deployments", RouteMatch("exact", DEPLOYMENTS_PATH, get), retries=None, direct=table),
        Route("slipway/page", RouteMatch("exact", PAGE_PATH, get), retries=None, direct=page),
    )


_PAGE_HEADERS = (
    ("cache-control", "no-cache"),
    (
        "content-security-policy",
        (
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' blob: data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
    ),
    ("x-content-type-options", "nosniff"),
)


def deployments(routes: Iterable[Route]) -> dict[str, Any]:
    """What the page offers: every ``/seldon/<namespace>/<name>/`` prefix, and whether anything behind it is ready."""
    found: dict[tuple[str, str], bool] = {}
    for route in routes:
        parts = route.match.path.split("/")
        if route.match.kind == "prefix" and len(parts) == 5 and parts[1] == "seldon" and parts[4] == "":
            key = (parts[2], parts[3])
            found[key] = found.get(key, False) or bool(route.destinations)
    return {"deployments": [{"namespace": key[0], "name": key[1], "ready": found[key]} for key in sorted(found)]}


def _service_listeners(
    services: Mapping[Key, Service],
    rules: Mapping[Key, DestinationRule],
    rest: Rest,
    *,
    site: Site,
    findings: list[Finding],
) -> tuple[list[Listener], dict[str, Cluster]]:
    listeners: list[Listener] = []
    clusters: dict[str, Cluster] = {}
    taken: dict[str, str] = {}
    for key, service in services.items():
        for port in service.ports if service.cluster_ip else ():
            where = f"{service.cluster_ip}:{port.number}"
            if message := _unbindable(service, port, taken.get(where), site):
                findings.append(Finding("Service", *key, "spec.ports", message, "NotSupported"))
                continue
            taken[where] = f"{'/'.join(key)} {port.name}".rstrip()
            rule = rules.get(key)
            policy = rule.policy if rule else ClusterPolicy()
            cluster = Cluster(cluster_name(service, port, ""), port.protocol, service.ready(port, {}), policy)
            cluster = rest.in_place_of(cluster, service, port, {})
            clusters[cluster.name] = cluster
            name = f"service|{service.namespace}|{service.name}|{port.number}"
            listeners.append(Listener(name, str(service.cluster_ip), port.number, port.protocol, cluster.name))
    return sorted(listeners, key=lambda item: item.name), clusters


def _unbindable(service: Service, port: ServicePort, owner: str | None, site: Site) -> str:
    """Why there is no listener for a port; '' where there is. For two of one address Envoy would refuse all of them."""
    where = f"{service.cluster_ip}:{port.number}"
    if not (service.cluster_ip or "").startswith("127.") or port.number < site.lowest_port:
        return f"{where} cannot be bound here: use 127.0.0.0/8 and a port from {site.lowest_port}"
    return f"{where} is that of {owner} already: {port.name or 'the second'} is not served" if owner else ""


def _age(item: Object) -> tuple[str, str, str]:
    meta = item["metadata"]
    return str(meta.get("creationTimestamp") or ""), meta.get("namespace", ""), meta["name"]
