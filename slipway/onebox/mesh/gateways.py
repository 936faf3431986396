"""Gateways and the Secrets they name → on which ports which hosts are served, and with which certificates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.onebox.mesh.fields import Reader
from slipway.onebox.mesh.gateway_tls import Secrets, Tls, read_tls
from slipway.onebox.mesh.ir import Finding
from slipway.onebox.mesh.services import MAX_PORT

Object = Mapping[str, Any]
Hosts = Mapping[str, frozenset[str]]
"""``namespace/name`` of a Gateway → the hosts it takes."""
PLAIN = frozenset({"HTTP", "HTTP2", "GRPC"})
LOWEST_PORT = 1024
HTTP_PORT, HTTPS_PORT = 80, 443
HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
MAX_CERTIFICATES = 16
"""Each is a file that each Envoy watches, with one of the 128 inotify instances that a user has."""


@dataclass
class Servers:
    """``plain``: what the gateway's HTTP address takes, ``redirects``: what it sends to HTTPS.

    ``secure``: by declared port, with the hosts of each server in ``chains``.
    """

    plain: dict[str, frozenset[str]] = field(default_factory=dict)
    redirects: dict[str, frozenset[str]] = field(default_factory=dict)
    secure: dict[int, dict[str, frozenset[str]]] = field(default_factory=dict)
    chains: dict[int, dict[tuple[str, ...], Tls]] = field(default_factory=dict)

    @property
    def every(self) -> dict[str, frozenset[str]]:
        found = dict(self.plain)
        for hosts in (self.redirects, *self.secure.values()):
            for name, some in hosts.items():
                found[name] = found.get(name, frozenset()) | some
        return found


def port_here(declared: int, gateway_port: int) -> int:
    """Ports below 1024 are moved as 80 is to the gateway's: with 8080, 443 is 8443."""
    return declared if declared >= LOWEST_PORT else declared - HTTP_PORT + gateway_port


def read_gateways(
    gateways: Iterable[Object], secrets: Iterable[Object], findings: list[Finding], gateway_port: int
) -> Servers:
    """Servers of HTTP, and of HTTPS with ``tls: {mode: …, credentialName: …}``; others are findings."""
    known = {(item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in secrets}
    servers = Servers()
    redirecting: list[Reader] = []
    for item in sorted(gateways, key=lambda one: (one["metadata"].get("namespace", ""), one["metadata"]["name"])):
        reader = Reader.of(item, findings)
        reader.only({"selector", "servers"})
        name = f"{reader.namespace}/{reader.name}"
        servers.plain.setdefault(name, frozenset())
        for server in reader.children("servers"):
            hosts = frozenset(str(host).rpartition("/")[2] for host in server.items("hosts"))
            if server.child("port").text("protocol").upper() in PLAIN:
                _add_plain(servers, server, name, hosts)
                redirecting += [server] if server.child("tls").data.get("httpsRedirect") is True else []
            else:
                _add_secure(servers, server, name, hosts=hosts, secrets=known)
    _check_redirects(servers, redirecting, gateway_port)
    return servers


def _add_plain(servers: Servers, server: Reader, name: str, hosts: frozenset[str]) -> None:
    """``tls.httpsRedirect`` is the one field of ``tls`` that a server of HTTP has."""
    server.only({"port", "hosts", "name", "tls"})
    tls = server.child("tls")
    tls.only({"httpsRedirect"})
    if tls.data.get("httpsRedirect") is not True:
        servers.plain[name] |= hosts
        return
    for host in sorted(hosts):
        if HOST.fullmatch(host):
            servers.redirects[name] = servers.redirects.get(name, frozenset()) | {host.lower()}
        else:
            server.report("hosts", f"{host!r} is not *, *.domain or a host name")


def _add_secure(servers: Servers, server: Reader, name: str, *, hosts: frozenset[str], secrets: Secrets) -> None:
    port = server.child("port").number("number", 0)
    tls = read_tls(server, secrets)
    if tls is None:
        return
    chains = servers.chains.setdefault(port, {})
    taken = {host for chain in chains for host in chain}
    if not 0 < port <= MAX_PORT or not hosts:
        server.report("port", f"{port}: an HTTPS server needs a port and hosts: it is not served")
    elif taken & hosts:
        server.report(
            "hosts", f"{', '.join(sorted(taken & hosts))}: port {port} serves it already: this one has no effect"
        )
    elif sum(map(len, servers.chains.values())) >= MAX_CERTIFICATES:
        server.elsewhere("tls", f"there are {MAX_CERTIFICATES} certificates already: it is not served")
    elif any(tls.client != other.client for other in chains.values()):
        # Routes are of a port: whoever names one host in TLS and another in HTTP would pass the other's check.
        server.elsewhere(
            "tls", f"port {port} asks its clients otherwise already: this one is not served: give it a port"
        )
    else:
        chains[tuple(sorted(hosts))] = tls
        bound = servers.secure.setdefault(port, {})
        bound[name] = bound.get(name, frozenset()) | hosts


def _check_redirects(servers: Servers, found: Iterable[Reader], gateway_port: int) -> None:
    """Where a redirect leads nowhere, and what it takes along."""
    plain = frozenset().union(*servers.plain.values())
    for server in found:
        hosts = {str(host).rpartition("/")[2].lower() for host in server.items("hosts")}
        if HTTPS_PORT not in servers.secure:
            where = port_here(HTTPS_PORT, gateway_port)
            server.lacks("tls.httpsRedirect", f"leads to port {where}, where no HTTPS server of port 443 is served")
        if both := sorted(hosts & plain):
            server.elsewhere("hosts", f"{', '.join(both)}: a server without httpsRedirect has it too: it is redirected")
