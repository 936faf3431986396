"""Gateways and the Secrets they name → on which ports which hosts are served, and with which certificates."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.onebox.mesh.fields import Reader
from slipway.onebox.mesh.ir import Certificate, Finding
from slipway.onebox.mesh.services import MAX_PORT

Object = Mapping[str, Any]
Hosts = Mapping[str, frozenset[str]]
"""``namespace/name`` of a Gateway → the hosts it takes."""
PLAIN = frozenset({"HTTP", "HTTP2", "GRPC"})
LOWEST_PORT = 1024
HTTP_PORT = 80
MAX_CERTIFICATES = 16
"""Each is a file that each Envoy watches, with one of the 128 inotify instances that a user has."""


@dataclass
class Servers:
    """``plain``: what the gateway's HTTP address takes. ``secure``: by declared port, with each certificate's hosts."""

    plain: dict[str, frozenset[str]] = field(default_factory=dict)
    secure: dict[int, dict[str, frozenset[str]]] = field(default_factory=dict)
    chains: dict[int, dict[tuple[str, ...], Certificate]] = field(default_factory=dict)

    @property
    def every(self) -> dict[str, frozenset[str]]:
        found = dict(self.plain)
        for hosts in self.secure.values():
            for name, some in hosts.items():
                found[name] = found.get(name, frozenset()) | some
        return found


def port_here(declared: int, gateway_port: int) -> int:
    """Ports below 1024 are moved as 80 is to the gateway's: with 8080, 443 is 8443."""
    return declared if declared >= LOWEST_PORT else declared - HTTP_PORT + gateway_port


def read_gateways(gateways: Iterable[Object], secrets: Iterable[Object], findings: list[Finding]) -> Servers:
    """Servers of HTTP, and of HTTPS with ``tls: {mode: SIMPLE, credentialName: …}``; others are findings."""
    known = {(item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in secrets}
    servers = Servers()
    for item in sorted(gateways, key=lambda one: (one["metadata"].get("namespace", ""), one["metadata"]["name"])):
        reader = Reader.of(item, findings)
        reader.only({"selector", "servers"})
        name = f"{reader.namespace}/{reader.name}"
        servers.plain.setdefault(name, frozenset())
        for server in reader.children("servers"):
            hosts = frozenset(str(host).rpartition("/")[2] for host in server.items("hosts"))
            if server.child("port").text("protocol").upper() in PLAIN:
                server.only({"port", "hosts", "name"})
                servers.plain[name] |= hosts
            else:
                _add_secure(servers, server, name, hosts=hosts, secrets=known)
    return servers


def _add_secure(
    servers: Servers, server: Reader, name: str, *, hosts: frozenset[str], secrets: Mapping[tuple[str, str], Object]
) -> None:
    port = server.child("port").number("number", 0)
    certificate = _certificate(server, secrets)
    key = tuple(sorted(hosts))
    if certificate is None:
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
        server.report("tls", f"there are {MAX_CERTIFICATES} certificates already: it is not served")
    else:
        chains[key] = certificate
        bound = servers.secure.setdefault(port, {})
        bound[name] = bound.get(name, frozenset()) | hosts


def _certificate(server: Reader, secrets: Mapping[tuple[str, str], Object]) -> Certificate | None:
    """None, with a finding, where the server cannot be served."""
    protocol, tls = server.child("port").text("protocol"), server.child("tls")
    name = tls.text("credentialName")
    if protocol.upper() != "HTTPS" or tls.text("mode") != "SIMPLE" or not name:
        server.report(
            "port.protocol",
            f"{protocol!r}: the gateway of one machine speaks HTTP, and HTTPS with tls.mode SIMPLE and a credentialName",
        )
        return None
    server.only({"port", "hosts", "name", "tls"})
    tls.only({"mode", "credentialName"})
    secret = secrets.get((server.namespace, name))
    chain, key = (
        _pem(secret, field, marker) for field, marker in (("tls.crt", "CERTIFICATE"), ("tls.key", "PRIVATE KEY"))
    )
    if not chain or not key:
        where = f"Secret {server.namespace}/{name}"
        tls.report("credentialName", f"{where} has no tls.crt and tls.key in PEM: this server is not served")
        return None
    return Certificate(server.namespace, name, chain, key)


def _pem(secret: Object | None, field: str, marker: str) -> str:
    data = (secret or {}).get("data") or {}
    try:
        text = base64.b64decode(str(data.get(field) or ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return text if f"{marker}-----" in text else ""
