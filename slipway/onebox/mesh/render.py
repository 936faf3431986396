"""A mesh → the files of Envoy's filesystem xDS, each a DiscoveryResponse whose version is the digest of its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from slipway.onebox.mesh.ir import Listener, Mesh
from slipway.onebox.mesh.key_sources import render_key_cluster
from slipway.onebox.mesh.layout import ENVOYS, Layout
from slipway.onebox.mesh.render_clusters import render_cluster
from slipway.onebox.mesh.render_listeners import (
    render_certificate,
    render_gateway,
    render_service_listener,
    render_waking_listener,
)
from slipway.onebox.mesh.render_routes import render_routes
from slipway.onebox.mesh.translate import GATEWAY_LISTENER

Resource = Mapping[str, Any]


@dataclass(frozen=True)
class Response:
    """A DiscoveryResponse: the text of one file, and the version in it."""

    version: str
    text: str


@dataclass(frozen=True)
class Resources:
    """What both Envoys shall hold. ``clusters`` by name; ``listeners`` one response per Envoy.

    ``secure_routes`` are those of HTTPS listeners, by name; ``certificates``: file → its text.
    """

    clusters: Mapping[str, Resource]
    routes: Resource
    listeners: tuple[Response, ...]
    secure_routes: Mapping[str, Response] = field(default_factory=dict)
    certificates: Mapping[str, str] = field(default_factory=dict, repr=False)


def render(mesh: Mesh, layout: Layout) -> Resources:
    """Envoy's resources for a mesh."""
    return Resources(
        {item.name: render_cluster(item) for item in mesh.clusters} | _key_clusters(mesh),
        render_routes(GATEWAY_LISTENER, mesh.virtual_hosts),
        tuple(_listeners(mesh.listeners, layout, index) for index in ENVOYS),
        {name: discovery_response([render_routes(name, hosts)]) for name, hosts in sorted(mesh.secure_hosts.items())},
        {
            str(layout.certificate(item.namespace, item.name)): discovery_response([render_certificate(item)]).text
            for item in mesh.certificates
        },
    )


def _key_clusters(mesh: Mesh) -> dict[str, Resource]:
    sources = (rule.source for listener in mesh.listeners for rule in listener.jwt_rules)
    return {source.cluster: render_key_cluster(source) for source in sources if source}


@lru_cache(maxsize=len(ENVOYS))  # nine tenths of all the text, and the same until a Service comes or goes
def _listeners(listeners: tuple[Listener, ...], layout: Layout, index: int) -> Response:
    return discovery_response(_listener(item, layout, index) for item in listeners)


def _listener(item: Listener, layout: Layout, index: int) -> Resource:
    if item.name == GATEWAY_LISTENER or item.chains:
        return render_gateway(item, layout=layout, access_log=str(layout.access_log(index)))
    return render_service_listener(item) if item.address else render_waking_listener(item)


def discovery_response(resources: Iterable[Resource]) -> Response:
    """One resource per line, so that a file can be compared by eye."""
    lines = ",\n".join(json.dumps(resource, sort_keys=True) for resource in resources)
    version = hashlib.sha256(lines.encode()).hexdigest()[:16]
    return Response(version, f'{{"version_info": "{version}", "resources": [\n{lines}\n]}}\n')
