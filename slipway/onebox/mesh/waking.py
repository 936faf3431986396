"""Between the gateway and the activator: a listener inside each Envoy, which holds on to requests while the activator restarts.

The route of a request says how often a Pod is tried again: seldom, and at once. That is right for a Pod, and loses what
waits at an activator that ends. So a cluster at rest leads to this listener first, whose own retries are many and slow.
A route's retries stay what they are: here only the activator's own end is tried again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.contract import headers
from slipway.onebox.mesh import limits
from slipway.onebox.mesh.ir import Cluster, ClusterPolicy, Endpoint, Listener, Protocol
from slipway.onebox.mesh.render_clusters import duration
from slipway.onebox.mesh.sleepers import SOCKET_PORT, waking_listener

Sockets = Mapping[Protocol, str]
NEVER_SENT = "connect-failure,refused-stream"
"""What the activator has not seen is sent again, whatever it is."""
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def activator_cluster(protocol: Protocol) -> str:
    return f"activator|{protocol}"


def waking_clusters(sockets: Sockets) -> dict[str, Cluster]:
    """One for each protocol that the activator holds, for whatever rests."""
    most = limits.MAX_DOWNSTREAM_CONNECTIONS
    policy = ClusterPolicy(max_connections=most, max_pending=most, max_requests=most, retries_at_once=most)
    return {
        activator_cluster(protocol): Cluster(
            activator_cluster(protocol), protocol, (Endpoint(path, SOCKET_PORT),), policy
        )
        for protocol, path in sorted(sockets.items())
    }


def waking_listeners(sockets: Sockets) -> tuple[Listener, ...]:
    return tuple(
        Listener(waking_listener(protocol), "", 0, protocol, activator_cluster(protocol))
        for protocol in sorted(sockets)
    )


def waking_manager(cluster: str | None) -> dict[str, Any]:
    """What its HTTP connection manager has beside the bounds of all: headers that the gateway let pass pass here, too."""
    host = {
        "name": "activator",
        "domains": ["*"],
        "request_body_buffer_limit": limits.RETRY_BUFFER_BYTES,
        "request_headers_to_remove": [headers.REPEATABLE],
        "routes": [
            _route(cluster, f"reset,{NEVER_SENT}", headers=[{"name": headers.REPEATABLE, "present_match": True}]),
            _route(cluster, NEVER_SENT),
        ],
    }
    router = {"@type": _ROUTER, "respect_expected_rq_timeout": True}
    return {
        "route_config": {"name": "waking", "virtual_hosts": [host], "validate_clusters": False},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        "max_request_headers_kb": 2 * limits.MAX_HEADERS_KIB,
        "common_http_protocol_options": {
            "idle_timeout": duration(limits.DOWNSTREAM_IDLE_S),
            "max_headers_count": 2 * limits.MAX_HEADERS,
        },
        "generate_request_id": False,
        "skip_xff_append": True,
        "server_header_transformation": "PASS_THROUGH",
    }


def _route(cluster: str | None, retry_on: str, **match: Any) -> dict[str, Any]:
    policy = {
        "retry_on": retry_on,
        "num_retries": limits.WAKE_RETRIES,
        "retry_back_off": {
            "base_interval": duration(limits.WAKE_BACKOFF_S),
            "max_interval": duration(limits.WAKE_BACKOFF_MAX_S),
        },
    }
    action = {"cluster": cluster, "timeout": duration(limits.ROUTE_TIMEOUT_S), "retry_policy": policy}
    return {"match": {"prefix": "/", **match}, "route": action}
