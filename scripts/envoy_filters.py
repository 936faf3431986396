"""What the gateway of one machine does beyond Istio, as EnvoyFilters for Istio's own gateway:

python -m scripts.envoy_filters       # writes istio/components/gateway/*.yaml

Numbers, sentences and filters are those of slipway/onebox/mesh, so that a client meets the same limits and errors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from slipway.onebox.mesh import limits
from slipway.onebox.mesh.authentication import GATEWAY_NAMESPACE
from slipway.onebox.mesh.render_clusters import duration
from slipway.onebox.mesh.render_filters import buffer_filter, strip_filter
from slipway.onebox.mesh.replies import (
    GATEWAY_REPLIES,
    LOCAL_REPLIES,
    RATE_LIMITED,
    UPGRADE_REFUSED,
    render_local_replies,
)

FOLDER = Path(__file__).resolve().parents[1] / "istio" / "components" / "gateway"
HEAD = "# {about}\n# Made by python -m scripts.envoy_filters: edit that.\n"
SELECTOR = {"labels": {"istio": "ingressgateway"}}
MANAGER = "envoy.filters.network.http_connection_manager"
MANAGER_TYPE = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "envoy.filters.http.router"
LIMIT_REACHED = "more requests than the gateway's rate limit allows: try again later"
Object = dict[str, Any]


def render() -> dict[str, str]:
    """The text of each file by its name."""
    found = {
        "limits.yaml": (
            "Bodies of 12 MiB and no more, kept for retries and mirrors, and how long a client may take for one.",
            envoy_filter("slipway-limits", *gateway_limits()),
        ),
        "headers.yaml": (
            "What clients send as x-slipway-* ends at the gateway: those headers are the platform's own words.",
            envoy_filter("slipway-headers", filter_patch("INSERT_FIRST", strip_filter("x-slipway-"))),
        ),
        "replies.yaml": (
            "Errors that the gateway answers itself: the JSON of one machine, with x-slipway-reason.",
            envoy_filter("slipway-replies", manager_patch({"local_reply_config": render_local_replies(replies())})),
        ),
        "sidecars.yaml": (
            "A photo that one Pod sends to another is kept for a retry, too: sidecars would silently keep 1 MiB.",
            envoy_filter("slipway-sidecars", kept_bodies("SIDECAR_OUTBOUND"), selector=None),
        ),
    }
    return {name: HEAD.format(about=about) + _text(obj) for name, (about, obj) in found.items()}


def envoy_filter(name: str, *patches: Object, selector: Mapping[str, Any] | None = SELECTOR) -> Object:
    """Without ``selector`` for every proxy of the mesh, as its namespace is the mesh's root."""
    workloads = {"workloadSelector": dict(selector)} if selector else {}
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": name, "namespace": GATEWAY_NAMESPACE},
        "spec": {**workloads, "configPatches": list(patches)},
    }


def gateway_limits() -> list[Object]:
    """Buffers of connections stay small: the router alone keeps whole bodies, as many as its own limit allows."""
    small = {"per_connection_buffer_limit_bytes": limits.CONNECTION_BUFFER_BYTES}
    times = {
        "common_http_protocol_options": {
            "idle_timeout": duration(limits.DOWNSTREAM_IDLE_S),
            "max_headers_count": limits.MAX_HEADERS,
        },
        "max_request_headers_kb": limits.MAX_HEADERS_KIB,
        "request_headers_timeout": duration(limits.HEADERS_TIMEOUT_S),
        "request_timeout": duration(limits.BODY_TIMEOUT_S),
        "stream_idle_timeout": duration(limits.STREAM_IDLE_S),
    }
    return [
        _patch("LISTENER", "GATEWAY", "MERGE", small),
        _patch("CLUSTER", "GATEWAY", "MERGE", small),
        manager_patch(times),
        kept_bodies("GATEWAY"),
        filter_patch("INSERT_BEFORE", buffer_filter(but_grpc=True)),
    ]


def kept_bodies(context: str) -> Object:
    """Above this a retry and a mirror are silently left out: see the counter ``retry_or_shadow_abandoned``."""
    return _patch("VIRTUAL_HOST", context, "MERGE", {"request_body_buffer_limit": limits.RETRY_BUFFER_BYTES})


def replies() -> list[Any]:
    """Of one machine; the limit of requests is another's here, and Istio's gateway lets WebSockets pass."""
    own = [replace(item, info=LIMIT_REACHED) if item.reason == RATE_LIMITED else item for item in GATEWAY_REPLIES]
    return [*(item for item in own if item.reason != UPGRADE_REFUSED), *LOCAL_REPLIES]


def manager_patch(config: Mapping[str, Any]) -> Object:
    """Merged into the gateway's HttpConnectionManager."""
    match = {"listener": {"filterChain": {"filter": {"name": MANAGER}}}}
    value = {"name": MANAGER, "typed_config": {"@type": MANAGER_TYPE, **config}}
    return _patch("NETWORK_FILTER", "GATEWAY", "MERGE", value, match)


def filter_patch(operation: str, value: Mapping[str, Any]) -> Object:
    """One HTTP filter of the gateway more, first of all or just before the router."""
    before = {} if operation == "INSERT_FIRST" else {"subFilter": {"name": ROUTER}}
    match = {"listener": {"filterChain": {"filter": {"name": MANAGER, **before}}}}
    return _patch("HTTP_FILTER", "GATEWAY", operation, value, match)


def _patch(
    place: str, context: str, operation: str, value: Mapping[str, Any], match: Mapping[str, Any] | None = None
) -> Object:
    return {
        "applyTo": place,
        "match": {"context": context, **(match or {})},
        "patch": {"operation": operation, "value": dict(value)},
    }


def _text(obj: Object) -> str:
    copied = json.loads(json.dumps(obj))  # what two places share would be an anchor
    return str(yaml.safe_dump(copied, sort_keys=False, width=1000, allow_unicode=True))


if __name__ == "__main__":
    for name, text in render().items():
        (FOLDER / name).write_text(text)
