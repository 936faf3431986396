"""Listeners → Envoy's Listener resources: the gateway with all its defences, and one per Service port."""

from __future__ import annotations

from typing import Any

from slipway.onebox.mesh import limits
from slipway.onebox.mesh.access_log import render_access_log
from slipway.onebox.mesh.ir import Certificate, ClientCheck, Listener, Retries, SecureChain
from slipway.onebox.mesh.layout import Layout
from slipway.onebox.mesh.render_clusters import duration
from slipway.onebox.mesh.render_filters import render_filters, router_filter
from slipway.onebox.mesh.render_routes import retry_policy
from slipway.onebox.mesh.replies import GATEWAY_REPLIES, LOCAL_REPLIES, render_local_replies
from slipway.onebox.mesh.waking import waking_manager

LISTENER_TYPE = "type.googleapis.com/envoy.config.listener.v3.Listener"
_TYPES = "type.googleapis.com/envoy.extensions"
_HCM = f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"
_INSPECTOR = {"@type": f"{_TYPES}.filters.listener.tls_inspector.v3.TlsInspector"}
_TOLD_OF_CLIENTS = {"subject": True, "uri": True, "dns": True}
_KINDS_OF_NAMES = ("DNS", "URI", "EMAIL", "IP_ADDRESS")
_INSIDE = Retries(attempts=limits.RETRIES, on=("connect-failure", "refused-stream"))
"""Between Pods only what never reached a server is tried again."""


def render_gateway(listener: Listener, *, layout: Layout, access_log: str) -> dict[str, Any]:
    """A listener of the gateway, plain or with certificates; its routes come from a file."""
    routes = layout.routes_of(listener.name) if listener.chains else layout.routes
    manager = {
        **_manager(listener.name),
        "rds": {
            "route_config_name": listener.name,
            "config_source": {"resource_api_version": "V3", "path_config_source": {"path": str(routes)}},
        },
        "http_filters": render_filters(listener.jwt_rules),
        "use_remote_address": True,
        "internal_address_config": {"unix_sockets": False},  # no client is trusted with x-envoy-* headers
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "normalize_path": True,
        "local_reply_config": render_local_replies((*GATEWAY_REPLIES, *LOCAL_REPLIES)),
        "access_log": [render_access_log(access_log)],
    }
    if any(item.client for item in listener.chains):  # as Istio's gateway does: a header of the client's own is dropped
        manager |= {"forward_client_cert_details": "SANITIZE_SET", "set_current_client_cert_details": _TOLD_OF_CLIENTS}
    found = _listener(listener, "envoy.filters.network.http_connection_manager", {"@type": _HCM, **manager})
    if listener.chains:
        (plain,) = found["filter_chains"]
        found["filter_chains"] = [{**plain, **_secure(item, layout)} for item in listener.chains]
        found["listener_filters"] = [{"name": "envoy.filters.listener.tls_inspector", "typed_config": _INSPECTOR}]
    return found


def render_certificate(certificate: Certificate) -> dict[str, Any]:
    """Envoy's Secret; a new one is taken without a new listener, for the connections that come then."""
    pair = {
        "certificate_chain": {"inline_string": certificate.chain},
        "private_key": {"inline_string": certificate.key},
    }
    name = f"{certificate.namespace}/{certificate.name}"
    return {"@type": f"{_TYPES}.transport_sockets.tls.v3.Secret", "name": name, "tls_certificate": pair}


def _secure(item: SecureChain, layout: Layout) -> dict[str, Any]:
    named = [host for host in item.hosts if host != "*"]
    source = {"resource_api_version": "V3", "path_config_source": {"path": str(layout.certificate(*item.certificate))}}
    lowest, highest = item.versions
    versions = {"tls_minimum_protocol_version": lowest, "tls_maximum_protocol_version": highest}
    given = {key: value for key, value in versions.items() if value}
    context = {
        "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificate_sds_secret_configs": [{"name": "/".join(item.certificate), "sds_config": source}],
            **({"tls_params": given} if given else {}),
            **({"validation_context": _validation(item.client)} if item.client else {}),
        },
        **({"require_client_certificate": item.client.is_required} if item.client else {}),
    }
    match = {"filter_chain_match": {"server_names": named}} if len(named) == len(item.hosts) else {}
    return {**match, "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context}}


def _validation(client: ClientCheck) -> dict[str, Any]:
    """Inside the listener: changed authorities end the connections that the old ones let in. Any of the names will do."""
    names = [{"san_type": kind, "matcher": {"exact": name}} for name in client.names for kind in _KINDS_OF_NAMES]
    return {
        "trusted_ca": {"inline_string": client.authorities},
        **({"match_typed_subject_alt_names": names} if names else {}),
    }


def render_service_listener(listener: Listener) -> dict[str, Any]:
    """The ClusterIP of one Service port, to its one cluster."""
    if listener.protocol == "tcp":
        config = {
            "@type": f"{_TYPES}.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "service",
            "cluster": listener.cluster,
            "idle_timeout": duration(limits.TCP_IDLE_S),
            "max_connect_attempts": limits.RETRIES + 1,
        }
        return _listener(listener, "envoy.filters.network.tcp_proxy", config)
    route = {
        "match": {"prefix": "/"},
        "route": {
            "cluster": listener.cluster,
            "timeout": duration(limits.ROUTE_TIMEOUT_S),
            "retry_policy": retry_policy(_INSIDE),
        },
    }
    host = {
        "name": "service",
        "domains": ["*"],
        "request_body_buffer_limit": limits.RETRY_BUFFER_BYTES,
        "routes": [route],
    }
    manager = {
        **_manager("service"),
        "route_config": {"name": listener.name, "virtual_hosts": [host], "validate_clusters": False},
        "http_filters": [router_filter()],
        "local_reply_config": render_local_replies(),
    }
    return _listener(listener, "envoy.filters.network.http_connection_manager", {"@type": _HCM, **manager})


def render_waking_listener(listener: Listener) -> dict[str, Any]:
    """Without an address: only clusters of the same Envoy lead to it."""
    manager = {
        **_manager("waking"),
        **waking_manager(listener.cluster),
        "local_reply_config": render_local_replies(),
    }
    found = _listener(listener, "envoy.filters.network.http_connection_manager", {"@type": _HCM, **manager})
    outside = {"address", "enable_reuse_port"}
    inside = {"internal_listener": {}, "ignore_global_conn_limit": True}
    return {**{key: value for key, value in found.items() if key not in outside}, **inside}


def _listener(listener: Listener, filter_name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "@type": LISTENER_TYPE,
        "name": listener.name,
        "address": {"socket_address": {"address": listener.address, "port_value": listener.port}},
        "enable_reuse_port": True,  # two Envoys share every address
        "per_connection_buffer_limit_bytes": limits.CONNECTION_BUFFER_BYTES,
        "filter_chains": [{"filters": [{"name": filter_name, "typed_config": config}]}],
    }


def _manager(stat_prefix: str) -> dict[str, Any]:
    """What both kinds of HTTP listener bound: times, header sizes, streams."""
    return {
        "stat_prefix": stat_prefix,
        "codec_type": "AUTO",
        "server_name": "slipway",
        "common_http_protocol_options": {
            "idle_timeout": duration(limits.DOWNSTREAM_IDLE_S),
            "max_headers_count": limits.MAX_HEADERS,
        },
        "http2_protocol_options": {
            "max_concurrent_streams": limits.MAX_CONCURRENT_STREAMS,
            "initial_stream_window_size": limits.HTTP2_STREAM_WINDOW_BYTES,
            "initial_connection_window_size": limits.HTTP2_CONNECTION_WINDOW_BYTES,
        },
        "max_request_headers_kb": limits.MAX_HEADERS_KIB,
        "request_headers_timeout": duration(limits.HEADERS_TIMEOUT_S),
        "request_timeout": duration(limits.BODY_TIMEOUT_S),
        "stream_idle_timeout": duration(limits.STREAM_IDLE_S),
        "delayed_close_timeout": duration(limits.DELAYED_CLOSE_S),
        "drain_timeout": duration(limits.DRAIN_S),
    }
