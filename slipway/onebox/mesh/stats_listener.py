"""Where Prometheus finds an Envoy's metrics: one path of its admin interface, which itself stays on a Unix socket.

A sidecar of Istio shows them at the same port and path (https://istio.io/latest/docs/ops/integrations/prometheus/). The
address is one of the home's network that no Service gets, so that no client's own port can stand in the way.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from slipway.onebox.settings import reserved_address

STATS_PORT = 15090
STATS_PATH = "/stats/prometheus"
ADMIN_CLUSTER = "admin"
STATS_TIMEOUT = "10s"
MAX_CONNECTIONS = 16
"""Of scrapers; more than one or two are a mistake."""
_TYPES = "type.googleapis.com/envoy.extensions.filters"


def stats_address(network: IPv4Network, index: int) -> str:
    """``host:port`` of Envoy ``index``."""
    return f"{reserved_address(network, index)}:{STATS_PORT}"


def stats_resources(network: IPv4Network, index: int, admin_socket: Path) -> dict[str, Any]:
    """Envoy's static resources: a listener for GET of ``STATS_PATH`` alone, and its way to the admin interface."""
    address = {"address": reserved_address(network, index), "port_value": STATS_PORT}
    listener = {
        "name": "stats",
        "address": {"socket_address": address},
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", **_manager()}]}],
        "ignore_global_conn_limit": True,
    }
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(admin_socket)}}}}
    cluster = {
        "name": ADMIN_CLUSTER,
        "type": "STATIC",
        "load_assignment": {"cluster_name": ADMIN_CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "circuit_breakers": {"thresholds": [{"max_connections": MAX_CONNECTIONS, "max_requests": MAX_CONNECTIONS}]},
    }
    return {"listeners": [listener], "clusters": [cluster]}


def _manager() -> dict[str, Any]:
    is_get = {"name": ":method", "string_match": {"exact": "GET"}}
    route = {
        "match": {"path": STATS_PATH, "headers": [is_get]},
        "route": {"cluster": ADMIN_CLUSTER, "timeout": STATS_TIMEOUT},
    }
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPES}.http.router.v3.Router", "dynamic_stats": False},
    }
    return {
        "typed_config": {
            "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "stats",
            "route_config": {"virtual_hosts": [{"name": "stats", "domains": ["*"], "routes": [route]}]},
            "http_filters": [router],
        }
    }
