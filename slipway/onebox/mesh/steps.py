"""From what the files hold to what they shall hold, in steps that never leave a route without its cluster. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from slipway.onebox.mesh.layout import ENVOYS, Layout
from slipway.onebox.mesh.render import Resource, Resources, discovery_response, version_of
from slipway.onebox.mesh.translate import GATEWAY_LISTENER

CLUSTERS_STAT = "cluster_manager.cds"
LISTENERS_STAT = "listener_manager.lds"
ROUTES_STAT = f"http.{GATEWAY_LISTENER}.rds.{GATEWAY_LISTENER}"


@dataclass(frozen=True)
class Held:
    """What the files hold now."""

    clusters: Mapping[str, Resource] = field(default_factory=dict)
    endpoints: Mapping[str, Resource] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """Files to write (name → text) in order, then versions that each running Envoy must show, then files to remove.

    ``expect`` has one mapping per Envoy: stat name → version.
    """

    name: str
    files: Mapping[str, str]
    expect: tuple[Mapping[str, str], ...]
    remove: tuple[str, ...] = ()


def plan_steps(held: Held, wanted: Resources, layout: Layout) -> tuple[Step, Step, Step]:
    """Make before break.

    1. Every endpoint and cluster that comes, with all that is there; endpoints that become none wait for step 3.
    2. Routes and listeners.
    3. What no route names any more goes.
    """
    emptied = {
        name for name in wanted.endpoints if _count(held.endpoints.get(name)) and not _count(wanted.endpoints[name])
    }
    first = {name: resource for name, resource in wanted.endpoints.items() if name not in emptied}
    union = {**held.clusters, **wanted.clusters}
    leaving = sorted(held.clusters.keys() - wanted.clusters.keys())
    return (
        Step(
            "clusters",
            {**_endpoint_files(first, layout), **_clusters_file(union, layout)},
            _first_versions(first, union),
        ),
        _routes_step(wanted, layout),
        Step(
            "removal",
            {
                **_clusters_file(wanted.clusters, layout),
                **_endpoint_files({n: wanted.endpoints[n] for n in emptied}, layout),
            },
            tuple({} for _ in ENVOYS),
            tuple(str(layout.endpoints(name)) for name in leaving),
        ),
    )


def _routes_step(wanted: Resources, layout: Layout) -> Step:
    files = {str(layout.routes): discovery_response([wanted.routes])}
    files |= {str(layout.listeners(index)): discovery_response(wanted.listeners[index]) for index in ENVOYS}
    routes = version_of([wanted.routes])
    expect = tuple({ROUTES_STAT: routes, LISTENERS_STAT: version_of(wanted.listeners[index])} for index in ENVOYS)
    return Step("routes", files, expect)


def _first_versions(
    endpoints: Mapping[str, Resource], clusters: Mapping[str, Resource]
) -> tuple[Mapping[str, str], ...]:
    versions = {f"cluster.{name.replace(':', '_')}": version_of([item]) for name, item in endpoints.items()}
    versions[CLUSTERS_STAT] = version_of(_sorted(clusters))
    return tuple(versions for _ in ENVOYS)


def _endpoint_files(endpoints: Mapping[str, Resource], layout: Layout) -> dict[str, str]:
    return {str(layout.endpoints(name)): discovery_response([endpoints[name]]) for name in sorted(endpoints)}


def _clusters_file(clusters: Mapping[str, Resource], layout: Layout) -> dict[str, str]:
    return {str(layout.clusters): discovery_response(_sorted(clusters))}


def _sorted(clusters: Mapping[str, Resource]) -> list[Resource]:
    return [clusters[name] for name in sorted(clusters)]


def _count(assignment: Resource | None) -> int:
    return sum(len(group["lb_endpoints"]) for group in assignment["endpoints"]) if assignment else 0
