"""Label edits restart nothing."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from slipway.contract.defaulting import default
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.plan import actions, key_of, stamped
from slipway.controller.pod_labels import LABELS, label_changes
from tests.contract.manifests import Manifest, component, predictor, sdep
from tests.controller.cases import SETTINGS

DEPLOYMENT = ("Deployment", "iris-main-0-clf")


def parsed(**fields: Any) -> SeldonDeployment:
    return SeldonDeployment.from_json(sdep(predictor(**fields)))


def world(item: SeldonDeployment) -> dict[tuple[str, str], Manifest]:
    return {key_of(obj): deepcopy(stamped(obj)) for obj in desired(item, Facts(SETTINGS))}


def template_after(before: SeldonDeployment, after: SeldonDeployment) -> tuple[Manifest, Manifest]:
    """(the old Pod template, the one that is written)."""
    old = world(before)
    written = {key_of(step.object): step.object for step in actions(desired(after, Facts(SETTINGS)), old)}
    return old[DEPLOYMENT]["spec"]["template"], written.get(DEPLOYMENT, old[DEPLOYMENT])["spec"]["template"]


def test_changed_added_and_removed_labels_leave_the_pod_template_alone():
    before, after = parsed(labels={"team": "a", "old": "x"}), parsed(labels={"team": "b", "new": "y"})
    old, written = template_after(before, after)
    assert written == old
    assert old["metadata"]["labels"]["old"] == "x"


def test_changed_labels_reach_the_deployment_itself_and_then_it_rests():
    old = world(parsed(labels={"team": "a"}))
    after = desired(parsed(labels={"team": "b"}), Facts(SETTINGS))
    steps = actions(after, old)
    changed = next(step.object for step in steps if key_of(step.object) == DEPLOYMENT)
    assert changed["metadata"]["labels"]["team"] == "b"
    assert changed["metadata"]["annotations"][LABELS] == '{"team":"a","version":"main"}'
    for step in steps:
        old[key_of(step.object)] = step.object
    assert actions(after, old) == []


def test_other_edits_take_the_labels_along():
    after = parsed(labels={"team": "b"}, componentSpecs=[component("clf", metadata={"annotations": {"a": "b"}})])
    _, written = template_after(parsed(labels={"team": "a"}), after)
    assert written["metadata"]["labels"]["team"] == "b"


def test_another_version_is_other_pods():
    _, written = template_after(parsed(labels={"version": "v1"}), parsed(labels={"version": "v2"}))
    assert written["metadata"]["labels"]["version"] == "v2"


def pod(name: str, app: str = DEPLOYMENT[1], **labels: str) -> Manifest:
    return {"metadata": {"name": name, "labels": {"app": app, "version": "main", **labels}}}


def changes(before: SeldonDeployment, after: SeldonDeployment, *pods: Manifest) -> dict[str, Any]:
    return dict(label_changes(default(after), [world(before)[DEPLOYMENT]], pods))


def test_running_pods_get_the_labels_of_now():
    before, after = parsed(labels={"team": "a", "old": "x"}), parsed(labels={"team": "b"})
    found = changes(before, after, pod("p1", team="a", old="x"), pod("p2", team="b"), pod("p3", app="other", team="a"))
    assert found == {"p1": {"team": "b", "old": None}}


def test_labels_that_are_no_predictors_stay():
    found = changes(parsed(labels={"team": "a"}), parsed(labels={"team": "a"}), pod("p1", team="a", mine="z"))
    assert found == {}


def test_pods_that_are_ending_are_left_alone():
    ending = pod("p1", team="a")
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert changes(parsed(labels={"team": "a"}), parsed(labels={"team": "b"}), ending) == {}
