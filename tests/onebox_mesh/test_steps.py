from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from slipway.onebox.mesh.layout import Layout
from slipway.onebox.mesh.render import render
from slipway.onebox.mesh.steps import CLUSTERS_STAT, ROUTES_STAT, Held, plan_steps
from slipway.onebox.mesh.translate import Site, translate
from slipway.onebox.paths import Paths
from tests.onebox_mesh.cases import ALL_DOWN, CASES, READY
from tests.onebox_mesh.world import virtual_service, world

LAYOUT = Layout(Paths(Path("/slipway")))
SITE = Site("127.0.0.1", 8080, "/page.html")
CANARY = "outbound|8000|canary|yolo-canary.default.svc.cluster.local"


def _wanted(objects):
    return render(translate(objects, SITE), LAYOUT)


def _held(resources):
    return Held(resources.clusters, resources.endpoints)


def _names(text):
    return [item["name"] for item in json.loads(text)["resources"]]


def test_plan_steps_keeps_a_leaving_cluster_until_no_route_names_it():
    held = _held(_wanted(CASES["canary-10"]))
    first, routes, removal = plan_steps(held, _wanted(CASES["lone-predictor-weight-0"]), LAYOUT)
    clusters = str(LAYOUT.clusters)
    assert CANARY in _names(first.files[clusters])
    assert clusters not in routes.files
    assert CANARY not in _names(removal.files[clusters])
    assert str(LAYOUT.endpoints(CANARY)) in removal.remove


def test_plan_steps_takes_new_clusters_before_routes():
    first, routes, _ = plan_steps(Held(), _wanted(CASES["canary-10"]), LAYOUT)
    assert CANARY in _names(first.files[str(LAYOUT.clusters)])
    assert {CLUSTERS_STAT, f"cluster.{CANARY}"} <= first.expect[0].keys()
    assert ROUTES_STAT in routes.expect[0]
    # A cluster's endpoints lie there before the cluster that reads them.
    assert list(first.files)[-1] == str(LAYOUT.clusters)


def test_plan_steps_takes_the_last_endpoint_away_after_the_routes():
    ready = world([virtual_service({"stable": 90, "canary": 10})], READY)
    down = world([virtual_service({"stable": 90, "canary": 10})], {**READY, "canary": ALL_DOWN["canary"]})
    first, _, removal = plan_steps(_held(_wanted(ready)), _wanted(down), LAYOUT)
    emptied = str(LAYOUT.endpoints(CANARY))
    assert emptied not in first.files
    assert emptied in removal.files


def test_endpoints_that_change_leave_clusters_and_routes_alone():
    two = {**READY, "stable": {"127.20.0.1": True, "127.20.0.9": True}}
    before = _wanted(world([virtual_service({"stable": 90, "canary": 10})], READY))
    after = _wanted(world([virtual_service({"stable": 90, "canary": 10})], two))
    assert replace(after, endpoints=before.endpoints) == before
    assert after.endpoints != before.endpoints
