"""Listeners → Envoy's Listener resources: the gateway with all its defences, and one per Service port."""

from __future__ import annotations

from typing import Any

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.onebox.mesh import limits
from slipway.onebox.mesh.access_log import render_access_log
from slipway.onebox.mesh.ir import Listener, Retries
from slipway.onebox.mesh.render_clusters import duration
from slipway.onebox.mesh.render_routes import BUFFER_FILTER, retry_policy
from slipway.onebox.mesh.replies import render_local_replies

LISTENER_TYPE = "type.googleapis.com/envoy.config.listener.v3.Listener"
_TYPES = "type.googleapis.com/envoy.extensions"
_HCM = f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"
_INSIDE = Retries(attempts=limits.RETRIES, on=("connect-failure", "refused-stream"))
"""Between Pods only what never reached a server is tried again."""


def render_gateway(listener: Listener, *, routes_file: str, access_log: str) -> dict[str, Any]:
    """The listener of the gateway; its routes come from ``routes_file``."""
    manager = {
        **_manager(listener.name),
        "rds": {
            "route_config_name": listener.name,
            "config_source": {"resource_api_version": "V3", "path_config_source": {"path": routes_file}},
        },
        "http_filters": [_strip_filter(), _buffer_filter(), _router_filter()],
        "use_remote_address": True,
        "internal_address_config": {"unix_sockets": False},  # no client is trusted with x-envoy-* headers
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "normalize_path": True,
        "local_reply_config": render_local_replies(),
        "access_log": [render_access_log(access_log)],
    }
    return _listener(listener, "envoy.filters.network.http_connection_manager", {"@type": _HCM, **manager})


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
        "http_filters": [_router_filter()],
        "local_reply_config": render_local_replies(),
    }
    return _listener(listener, "envoy.filters.network.http_connection_manager", {"@type": _HCM, **manager})


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


def _strip_filter() -> dict[str, Any]:
    """Clients may speak neither for the platform nor to Envoy: their ``x-slipway-*`` and ``x-envoy-*`` end here."""
    mutations = [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in ("x-slipway-", "x-envoy-")]
    return {
        "name": "envoy.filters.http.header_mutation",
        "typed_config": {
            "@type": f"{_TYPES}.filters.http.header_mutation.v3.HeaderMutation",
            "mutations": {"request_mutations": mutations},
        },
    }


def _buffer_filter() -> dict[str, Any]:
    """Receives a whole body before anybody sees its request, and answers 413 where it is too long.

    Not the body that announces a length within the limit: its request goes on at once, so that an executor that has no
    place for it refuses it before the body is read. The router keeps what has passed, for retries and mirrors.
    """
    buffer = {"@type": f"{_TYPES}.filters.http.buffer.v3.Buffer", "max_request_bytes": MAX_BODY_BYTES}
    length = {
        "name": "content-length",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
            "header_name": "content-length",
        },
    }
    streams = {"input": length, "value_match": {"safe_regex": {"google_re2": {}, "regex": limits.STREAMED_LENGTHS}}}
    skip = {"@type": f"{_TYPES}.filters.common.matcher.action.v3.SkipFilter"}
    matcher = {
        "predicate": {"single_predicate": streams},
        "on_match": {"action": {"name": "skip", "typed_config": skip}},
    }
    config = {
        "@type": f"{_TYPES}.common.matching.v3.ExtensionWithMatcher",
        "extension_config": {"name": BUFFER_FILTER, "typed_config": buffer},
        "xds_matcher": {"matcher_list": {"matchers": [matcher]}},
    }
    return {"name": BUFFER_FILTER, "typed_config": config}


def _router_filter() -> dict[str, Any]:
    config = {"@type": f"{_TYPES}.filters.http.router.v3.Router"}
    return {"name": "envoy.filters.http.router", "typed_config": config}
