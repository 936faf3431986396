"""``jwksUri`` of a RequestAuthentication → where Envoy fetches an issuer's keys, and the cluster that it fetches them with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from slipway.contract.ip_addresses import is_ip_address
from slipway.onebox.mesh import limits
from slipway.onebox.mesh.ir_security import KeySource
from slipway.onebox.mesh.render_clusters import CLUSTER_TYPE, HTTP_OPTIONS, duration
from slipway.onebox.mesh.services import Key, Service, resolve_host

PORTS = {"http": 80, "https": 443}
MAX_URI_CHARS = 2048
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


class NotFetched(ValueError):
    """The keys of an issuer cannot be fetched from there; the message says why."""


def key_source(uri: str, *, timeout_s: float, services: Mapping[Key, Service], trusted: str) -> KeySource:
    """``trusted``: a file of certificate authorities in PEM, empty where there is none. Raises NotFetched."""
    parts, port = _parts(uri)
    host = parts.hostname or ""
    if parts.scheme == "https" and not trusted:
        raise NotFetched("needs certificate authorities, and this machine has none: SSL_CERT_FILE names a file of them")
    return KeySource(
        uri=uri,
        host=host,
        address=_address(host, services),
        port=port,
        authorities=trusted if parts.scheme == "https" else "",
        timeout_s=timeout_s,
    )


def _parts(uri: str) -> tuple[SplitResult, int]:
    if len(uri) > MAX_URI_CHARS or not _VISIBLE.fullmatch(uri):
        raise NotFetched(f"{uri[:80]!r} is not a URI of at most {MAX_URI_CHARS} visible characters")
    try:
        parts = urlsplit(uri)
        port = parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise NotFetched(f"{uri[:80]!r} is not http://host[:port]/path or https://host[:port]/path") from None
    if parts.username is not None or parts.password is not None:
        raise NotFetched("has a user or a password in it: nobody is told them")
    if not (is_ip_address(parts.hostname or "") or _HOST.fullmatch(parts.hostname or "")):
        raise NotFetched(f"{uri[:80]!r} has no host")
    return parts, port


def _address(host: str, services: Mapping[Key, Service]) -> str:
    """Of a Service, which no resolver knows on one machine, and of an address itself; empty: a resolver is asked."""
    if is_ip_address(host):
        return host
    key = resolve_host(host, "")
    service = services.get(key) if key and key[0] else None
    if service is None:
        return ""
    if service.cluster_ip is None:
        raise NotFetched(f"{host} is a headless Service, which has no address")
    return service.cluster_ip


def render_key_cluster(source: KeySource) -> dict[str, Any]:
    """A cluster of its own, so that a slow issuer holds up nobody's requests; Envoy starts whether its name is known or not."""
    address = {"socket_address": {"address": source.address or source.host, "port_value": source.port}}
    resource: dict[str, Any] = {
        "@type": CLUSTER_TYPE,
        "name": source.cluster,
        "connect_timeout": duration(limits.CONNECT_TIMEOUT_S),
        "load_assignment": {
            "cluster_name": source.cluster,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "per_connection_buffer_limit_bytes": limits.CONNECTION_BUFFER_BYTES,
        "circuit_breakers": {"thresholds": [_THRESHOLD]},
        "typed_extension_protocol_options": {HTTP_OPTIONS: _HTTP},
        **({"type": "STATIC"} if source.address else _BY_NAME),
    }
    if source.authorities:
        tls = {"name": "envoy.transport_sockets.tls", "typed_config": _tls(source)}
        resource["transport_socket"] = tls
    return resource


_THRESHOLD = {
    "max_connections": limits.KEY_FETCHES,
    "max_pending_requests": limits.KEY_FETCHES,
    "max_requests": limits.KEY_FETCHES,
}
_HTTP = {
    "@type": f"type.googleapis.com/{HTTP_OPTIONS}",
    "common_http_protocol_options": {"idle_timeout": duration(limits.UPSTREAM_IDLE_S)},
    "explicit_http_config": {"http_protocol_options": {}},
}
_DNS = {
    "@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
    "all_addresses_in_single_endpoint": True,
    "dns_lookup_family": "V4_PREFERRED",
    "dns_refresh_rate": duration(limits.KEY_HOST_REFRESH_S),
}
_BY_NAME = {
    "cluster_type": {"name": "envoy.clusters.dns", "typed_config": _DNS},
    "wait_for_warm_on_init": False,
}


def _tls(source: KeySource) -> dict[str, Any]:
    is_address = is_ip_address(source.host)
    name = {"san_type": "IP_ADDRESS" if is_address else "DNS", "matcher": {"exact": source.host}}
    validation = {"trusted_ca": {"filename": source.authorities}, "match_typed_subject_alt_names": [name]}
    return {
        "@type": _TLS,
        "common_tls_context": {"validation_context": validation},
        **({} if is_address else {"sni": source.host}),
    }
