from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from slipway.onebox.mesh.layout import Layout
from slipway.onebox.mesh.render import render
from slipway.onebox.mesh.render_clusters import endpoint_count
from slipway.onebox.mesh.steps import CLUSTERS_STAT, LISTENERS_STAT, ROUTES_STAT, lacks_routes, plan_steps
from slipway.onebox.mesh.translate import Site, translate
from slipway.onebox.paths import Paths
from tests.onebox_mesh.cases import ALL_DOWN, CASES, READY
from tests.onebox_mesh.world import virtual_service, world

LAYOUT = Layout(Paths(Path("/slipway")))
SITE = Site("127.0.0.1", 8080, "/page.html")
CANARY = "outbound|8000|canary|yolo-canary.default.svc.cluster.local"
STABLE = "outbound|8000|stable|yolo-stable.default.svc.cluster.local"


def _wanted(objects):
    return render(translate(objects, SITE), LAYOUT)


def _clusters(step):
    return {item["name"]: item for item in json.loads(step.files[str(LAYOUT.clusters)])["resources"]}


def test_plan_steps_keeps_a_leaving_cluster_until_no_route_names_it():
    held = _wanted(CASES["canary-10"]).clusters
    first, routes, removal = plan_steps(held, _wanted(CASES["lone-predictor-weight-0"]), LAYOUT)
    assert CANARY in _clusters(first)
    assert str(LAYOUT.clusters) not in routes.files
    assert CANARY not in _clusters(removal)


def test_plan_steps_takes_new_clusters_before_routes():
    first, routes = plan_steps({}, _wanted(CASES["canary-10"]), LAYOUT)
    assert CANARY in _clusters(first)
    assert first.expect[0].keys() == {CLUSTERS_STAT}
    assert ROUTES_STAT in routes.expect[0]


def test_plan_steps_takes_the_last_endpoint_away_after_the_routes():
    ready = world([virtual_service({"stable": 90, "canary": 10})], READY)
    down = world([virtual_service({"stable": 90, "canary": 10})], {**READY, "canary": ALL_DOWN["canary"]})
    first, _, removal = plan_steps(_wanted(ready).clusters, _wanted(down), LAYOUT)
    assert endpoint_count(_clusters(first)[CANARY]) == 1
    assert endpoint_count(_clusters(removal)[CANARY]) == 0
    assert endpoint_count(_clusters(removal)[STABLE]) == 1


def test_endpoints_that_change_touch_only_their_own_clusters():
    two = {**READY, "stable": {"127.20.0.1": True, "127.20.0.9": True}}
    before = _wanted(world([virtual_service({"stable": 90, "canary": 10})], READY))
    after = _wanted(world([virtual_service({"stable": 90, "canary": 10})], two))
    changed = {name for name in after.clusters if after.clusters[name] != before.clusters[name]}
    assert changed == {name for name in after.clusters if "|stable|" in name}
    assert replace(after, clusters=before.clusters) == before
    assert len(plan_steps(before.clusters, after, LAYOUT)) == 2


def test_files_of_one_state_have_one_version_and_another_state_another():
    canary, stable = _wanted(CASES["canary-10"]), _wanted(CASES["lone-predictor-weight-0"])
    versions = [plan_steps({}, wanted, LAYOUT)[0].expect[0][CLUSTERS_STAT] for wanted in (canary, canary, stable)]
    assert versions[0] == versions[1] != versions[2]


def test_routes_are_lacking_whatever_else_is():
    """Only then are refused VirtualServices looked for."""
    assert lacks_routes({CLUSTERS_STAT, ROUTES_STAT})
    assert not lacks_routes({CLUSTERS_STAT, LISTENERS_STAT})
    assert not lacks_routes(())
