"""A mesh → the files of Envoy's filesystem xDS, each a DiscoveryResponse whose version is the digest of its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.onebox.mesh.ir import Mesh
from slipway.onebox.mesh.layout import ENVOYS, Layout
from slipway.onebox.mesh.render_clusters import render_cluster, render_endpoints
from slipway.onebox.mesh.render_listeners import render_gateway, render_service_listener
from slipway.onebox.mesh.render_routes import render_routes
from slipway.onebox.mesh.translate import GATEWAY_LISTENER

Resource = Mapping[str, Any]


@dataclass(frozen=True)
class Resources:
    """What both Envoys shall hold. ``clusters`` and ``endpoints`` by cluster name; ``listeners`` one set per Envoy."""

    clusters: Mapping[str, Resource]
    endpoints: Mapping[str, Resource]
    routes: Resource
    listeners: tuple[tuple[Resource, ...], ...]


def render(mesh: Mesh, layout: Layout) -> Resources:
    """Envoy's resources for a mesh."""
    return Resources(
        {item.name: render_cluster(item, endpoints_file=str(layout.endpoints(item.name))) for item in mesh.clusters},
        {item.name: render_endpoints(item.name, item.endpoints) for item in mesh.clusters},
        render_routes(GATEWAY_LISTENER, mesh.virtual_hosts),
        tuple(_listeners(mesh, layout, index) for index in ENVOYS),
    )


def _listeners(mesh: Mesh, layout: Layout, index: int) -> tuple[Resource, ...]:
    return tuple(
        render_gateway(item, routes_file=str(layout.routes), access_log=str(layout.access_log(index)))
        if item.name == GATEWAY_LISTENER
        else render_service_listener(item)
        for item in mesh.listeners
    )


def version_of(resources: Sequence[Resource]) -> str:
    return hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()[:16]


def discovery_response(resources: Sequence[Resource]) -> str:
    """The text of one file."""
    return json.dumps({"version_info": version_of(resources), "resources": list(resources)}, indent=1, sort_keys=True)
