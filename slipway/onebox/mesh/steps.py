"""From what the files hold to what they shall hold, in steps that never leave a route without its cluster. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from slipway.onebox.mesh.layout import ENVOYS, Layout
from slipway.onebox.mesh.render import Resource, Resources, discovery_response
from slipway.onebox.mesh.render_clusters import endpoint_count
from slipway.onebox.mesh.translate import GATEWAY_LISTENER

CLUSTERS_STAT = "cluster_manager.cds"
LISTENERS_STAT = "listener_manager.lds"


def routes_stat(listener: str) -> str:
    return f"http.{listener}.rds.{listener}"


def lacks_routes(missing: Collection[str]) -> bool:
    """Whether routes are among the stat names of what Envoy has not taken."""
    return any(name.startswith(f"http.{GATEWAY_LISTENER}") for name in missing)


ROUTES_STAT = routes_stat(GATEWAY_LISTENER)


@dataclass(frozen=True)
class Step:
    """Files to write (name → text) in order, then versions that each running Envoy must show.

    ``expect`` has one mapping per Envoy: stat name → version.
    """

    name: str
    files: Mapping[str, str]
    expect: tuple[Mapping[str, str], ...]


def plan_steps(held: Mapping[str, Resource], wanted: Resources, layout: Layout) -> tuple[Step, ...]:
    """Make before break. ``held`` are the clusters that Envoy has now, by name.

    1. Every cluster that comes or changes, beside all that is there; one that loses its last endpoint keeps it.
    2. Routes and listeners.
    3. Where it differs from 1: what no route names any more goes, and what was kept.
    """
    kept = {
        name: resource
        for name, resource in held.items()
        if name not in wanted.clusters or (endpoint_count(resource) and not endpoint_count(wanted.clusters[name]))
    }
    first = {**wanted.clusters, **kept}
    steps = (_clusters_step("clusters", first, layout), _routes_step(wanted, layout))
    return (*steps, _clusters_step("removal", wanted.clusters, layout)) if first != wanted.clusters else steps


def _clusters_step(name: str, clusters: Mapping[str, Resource], layout: Layout) -> Step:
    response = discovery_response(clusters[key] for key in sorted(clusters))
    return Step(name, {str(layout.clusters): response.text}, tuple({CLUSTERS_STAT: response.version} for _ in ENVOYS))


def _routes_step(wanted: Resources, layout: Layout) -> Step:
    routes = discovery_response([wanted.routes])
    secure = {str(layout.routes_of(name)): response.text for name, response in wanted.secure_routes.items()}
    files = {**wanted.certificates, **secure, str(layout.routes): routes.text}
    files |= {str(layout.listeners(index)): wanted.listeners[index].text for index in ENVOYS}
    versions = {routes_stat(name): response.version for name, response in wanted.secure_routes.items()}
    versions |= {ROUTES_STAT: routes.version}
    expect = tuple({**versions, LISTENERS_STAT: wanted.listeners[index].version} for index in ENVOYS)
    return Step("routes", files, expect)
