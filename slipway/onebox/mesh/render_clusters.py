"""Clusters → Envoy's Cluster resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.contract import headers
from slipway.onebox.mesh import limits
from slipway.onebox.mesh.access_log import log_metadata
from slipway.onebox.mesh.ir import Cluster, Endpoint, OutlierDetection
from slipway.onebox.mesh.sleepers import LISTENER_PORT, SOCKET_PORT

CLUSTER_TYPE = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def duration(seconds: float) -> str:
    """A protobuf duration in its JSON form."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def render_cluster(cluster: Cluster) -> dict[str, Any]:
    """The Cluster with its endpoints inside: Envoy replaces a cluster that changed, and what runs on the old one ends there.

    A file of endpoints per cluster would cost an inotify instance each, of which a user has 128.
    """
    policy = cluster.policy
    resource: dict[str, Any] = {
        "@type": CLUSTER_TYPE,
        "name": cluster.name,
        "type": "STATIC",
        "load_assignment": _load_assignment(cluster.name, cluster.endpoints),
        "connect_timeout": duration(policy.connect_timeout_s),
        "lb_policy": policy.balancing,
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "per_connection_buffer_limit_bytes": limits.CONNECTION_BUFFER_BYTES,
        "circuit_breakers": {"thresholds": [_threshold(cluster)]},
        **log_metadata(predictor=cluster.predictor, version=cluster.version),
    }
    if cluster.protocol != "tcp":
        resource["typed_extension_protocol_options"] = {HTTP_OPTIONS: _http_options(cluster)}
    if policy.outlier:
        resource["outlier_detection"] = _outlier(policy.outlier)
    return resource


def endpoint_count(resource: Mapping[str, Any]) -> int:
    """How many endpoints a Cluster of ``render_cluster`` has."""
    groups = resource.get("load_assignment", {}).get("endpoints", ())
    return sum(len(group["lb_endpoints"]) for group in groups)


def _load_assignment(cluster_name: str, endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    return {
        "cluster_name": cluster_name,
        "endpoints": [{"lb_endpoints": [_endpoint(item) for item in endpoints]}],
    }


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    address: dict[str, Any] = {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}}
    if endpoint.port == SOCKET_PORT:
        address = {"pipe": {"path": endpoint.address}}
    if endpoint.port == LISTENER_PORT:
        address = {"envoy_internal_address": {"server_listener_name": endpoint.address}}
    return {"endpoint": {"address": address}, **log_metadata(pod=endpoint.pod)}


def _threshold(cluster: Cluster) -> dict[str, Any]:
    return {
        "max_connections": cluster.policy.max_connections,
        "max_pending_requests": cluster.policy.max_pending,
        "max_requests": cluster.policy.max_requests,
        "retry_budget": {
            "budget_percent": {"value": limits.RETRY_BUDGET_PERCENT},
            "min_retry_concurrency": cluster.policy.retries_at_once,
        },
    }


def _http_options(cluster: Cluster) -> dict[str, Any]:
    http2 = {
        "max_concurrent_streams": limits.MAX_CONCURRENT_STREAMS,
        "initial_stream_window_size": limits.HTTP2_STREAM_WINDOW_BYTES,
        "initial_connection_window_size": limits.HTTP2_CONNECTION_WINDOW_BYTES,
    }
    version = {"http2_protocol_options": http2} if cluster.protocol == "grpc" else {"http_protocol_options": {}}
    return {
        "@type": f"type.googleapis.com/{HTTP_OPTIONS}",
        "common_http_protocol_options": {"idle_timeout": duration(cluster.policy.idle_s)},
        "explicit_http_config": version,
        **({"http_filters": _telling(cluster.wakes)} if cluster.wakes else {}),
    }


def _telling(target: str) -> list[dict[str, Any]]:
    """Says to the activator what a request is for: filters of the cluster, so that mirrors have it as routes do."""
    header = {"header": {"key": headers.WAKES, "value": target}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    types = "type.googleapis.com/envoy.extensions.filters.http"
    return [
        {
            "name": "envoy.filters.http.header_mutation",
            "typed_config": {
                "@type": f"{types}.header_mutation.v3.HeaderMutation",
                "mutations": {"request_mutations": [{"append": header}]},
            },
        },
        {
            "name": "envoy.filters.http.upstream_codec",
            "typed_config": {"@type": f"{types}.upstream_codec.v3.UpstreamCodec"},
        },
    ]


def _outlier(outlier: OutlierDetection) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "interval": duration(outlier.interval_s),
        "base_ejection_time": duration(outlier.base_ejection_s),
        "max_ejection_percent": outlier.max_ejection_percent,
        "enforcing_success_rate": 0,
    }
    if outlier.consecutive_5xx is not None:
        resource["consecutive_5xx"] = outlier.consecutive_5xx
        resource["enforcing_consecutive_5xx"] = 100 if outlier.consecutive_5xx else 0
    if outlier.consecutive_gateway_errors is not None:
        resource["consecutive_gateway_failure"] = outlier.consecutive_gateway_errors
        resource["enforcing_consecutive_gateway_failure"] = 100 if outlier.consecutive_gateway_errors else 0
    return resource
