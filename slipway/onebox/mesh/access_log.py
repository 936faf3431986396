"""What the gateway writes of each request: one JSON object per line, without bodies, queries and other headers."""

from __future__ import annotations

import json
from typing import Any

from slipway.contract import headers

NAMESPACE = "slipway"
"""Of the filter metadata that routes, clusters and endpoints carry for these lines."""
DEPLOYMENT, PREDICTOR, VERSION, POD = "deployment", "predictor", "version", "pod"
MAX_PATH_CHARS = 2048
MAX_HEADER_CHARS = 256


def _first(*commands: tuple[str, str]) -> str:
    """Envoy's COALESCE: the first of these that has a value."""
    operators = [{"command": command, "param": param} for command, param in commands]
    return f"%COALESCE({json.dumps({'operators': operators})}):{MAX_HEADER_CHARS}%"


def _told(header: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """A header of the reply; over gRPC it may be among the trailers."""
    return ("RESPONSE_HEADER", header), ("TRAILER", header)


FORMAT = {
    "time": "%START_TIME%",
    "namespace": f"%METADATA(ROUTE:{NAMESPACE}:namespace)%",
    "deployment": f"%METADATA(ROUTE:{NAMESPACE}:{DEPLOYMENT})%",
    "predictor": _first(*_told(headers.PREDICTOR), ("METADATA", f"CLUSTER:{NAMESPACE}:{PREDICTOR}")),
    "version": f"%METADATA(CLUSTER:{NAMESPACE}:{VERSION})%",
    "model": _first(*_told(headers.MODEL)),
    "pod": f"%METADATA(UPSTREAM_HOST:{NAMESPACE}:{POD})%",
    "puid": _first(*_told(headers.PUID), ("REQUEST_HEADER", headers.PUID)),
    "request_id": f"%REQUEST_HEADER(X-REQUEST-ID):{MAX_HEADER_CHARS}%",
    "method": "%REQUEST_HEADER(:METHOD):32%",
    "path": f"%PATH(NQ:ORIG_OR_PATH):{MAX_PATH_CHARS}%",  # NQ: a query may hold a token
    "host": f"%REQUEST_HEADER(:AUTHORITY):{MAX_HEADER_CHARS}%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS%",
    "reason": _first(*_told(headers.REASON)),
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "duration_ms": "%DURATION%",
    "upstream_ms": "%RESPONSE_HEADER(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "route": "%ROUTE_NAME%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "upstream": "%UPSTREAM_HOST%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
}
"""Keys and Envoy's command operators. ``attempts`` counts the first one; 0 is a request that no Pod was asked for."""


def render_access_log(path: str) -> dict[str, Any]:
    """Envoy's AccessLog that appends to the file ``path``."""
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "log_format": {"json_format": FORMAT},
        },
    }


def log_metadata(**values: str) -> dict[str, Any]:
    """Metadata of a resource as ``{"metadata": …}``; nothing where all values are empty."""
    known = {key: value for key, value in values.items() if value}
    return {"metadata": {"filter_metadata": {NAMESPACE: known}}} if known else {}
