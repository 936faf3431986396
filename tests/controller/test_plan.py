"""Desired and observed → steps (behaviour 73; second rounds are empty)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.plan import (
    ObjectKey,
    Step,
    actions,
    amount,
    fingerprint,
    first_difference,
    key_of,
    stamped,
)
from slipway.controller.readiness import is_ready
from tests.contract.manifests import Manifest, component, node, predictor, sdep
from tests.controller.cases import CASES, SETTINGS, follower, load, revision

Object = dict[str, Any]
World = dict[ObjectKey, Object]
READY = {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


def objects(manifest: Manifest) -> list[Object]:
    return desired(SeldonDeployment.from_json(manifest), Facts(SETTINGS))


def carried_out(steps: list[Step], world: World, *, ready: bool = True) -> World:
    """The world after ``steps``, with the defaults that an API adds."""
    after = deepcopy(world)
    for step in steps:
        key = key_of(step.object)
        if step.verb == "Delete":
            del after[key]
            continue
        after[key] = deepcopy(step.object)
        after[key]["metadata"] |= {"uid": f"uid-of-{key[1]}", "resourceVersion": "7"}
        after[key]["status"] = dict(READY) if ready and key[0] == "Deployment" else {}
        if key[0] == "Deployment":
            after[key]["spec"].setdefault("replicas", 1)
            after[key]["status"] |= dict.fromkeys(after[key]["status"], after[key]["spec"]["replicas"])
    return after


def settled(manifest: Manifest) -> World:
    return carried_out(actions(objects(manifest), {}), {})


def lines(steps: list[Step]) -> list[str]:
    return [f"{step.verb} {step.object['kind']} {step.object['metadata']['name']}" for step in steps]


@pytest.mark.parametrize("case", CASES)
def test_second_round_has_no_steps(case):
    wanted = desired(*load(case))
    steps = actions(wanted, {})
    assert len(steps) == len(wanted)
    assert actions(wanted, carried_out(steps, {})) == []


def test_changed_percentages_touch_the_virtual_service_only():
    before = settled(sdep(predictor("a", traffic=90), predictor("b", traffic=10)))
    steps = actions(objects(sdep(predictor("a", traffic=0), predictor("b", traffic=100))), before)
    assert lines(steps) == ["Update VirtualService iris"]


def test_row_78_changed_replicas_touch_the_deployment_but_not_its_pods():
    before = settled(sdep(predictor(replicas=1)))
    (step,) = actions(objects(sdep(predictor(replicas=3))), before)
    assert step.object["spec"]["template"] == before["Deployment", "iris-main-0-clf"]["spec"]["template"]


def test_only_the_component_spec_that_changed_gets_another_pod_template():
    def manifest(image: str, *more: Manifest) -> Manifest:
        graph = node("router", type="ROUTER", children=[node("a"), node("b")])
        parts = [component("router"), component("a"), component("b")]
        parts[1]["spec"]["containers"][0]["image"] = image
        return sdep(predictor(graph=graph, componentSpecs=parts), *more)

    before = settled(manifest("example/a:1"))
    steps = actions(objects(manifest("example/a:2")), before)
    assert lines(steps) == ["Update ConfigMap iris-main-0-router-graph", "Update Deployment iris-main-1-a"]
    steps = actions(objects(manifest("example/a:1", predictor("dark", shadow=True))), before)
    assert not [line for line in lines(steps) if line.startswith("Update Deployment")], "a shadow restarts nobody"


def test_percentages_are_written_while_a_predictor_is_unready():
    manifest = sdep(predictor("a", traffic=90), predictor("b", traffic=10))
    world = settled(manifest)
    world["Deployment", "iris-b-0-clf"]["status"] = {"replicas": 1, "unavailableReplicas": 1}
    steps = actions(objects(sdep(predictor("a", traffic=100), predictor("b", traffic=0))), world)
    assert lines(steps) == ["Update VirtualService iris"]


def renamed() -> Manifest:
    graph = node("clf2")
    return sdep(predictor(graph=graph, componentSpecs=[component("clf2")]))


def test_row_73_renamed_container_makes_a_new_deployment_and_keeps_the_old_one_until_it_is_ready():
    before = settled(sdep())
    first = actions(objects(renamed()), before)
    assert "Create Deployment iris-main-0-clf2" in lines(first)
    assert not [step for step in first if step.verb == "Delete"]
    unready = carried_out(first, before, ready=False)
    assert actions(objects(renamed()), unready) == []
    ready = carried_out(first, before)
    last = actions(objects(renamed()), ready)
    assert lines(last) == ["Delete ConfigMap iris-main-0-clf-graph", "Delete Deployment iris-main-0-clf"]
    ended = carried_out(last, ready)
    assert lines(actions(objects(renamed()), ended)) == ["Delete Service iris-main-clf"]


def pod(deployment: str, *, is_going: bool = False, **labels: str) -> Object:
    meta = {"name": f"{deployment}-1", "labels": {"app": deployment, "seldon-deployment-id": "iris", **labels}}
    return {"metadata": {**meta, **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if is_going else {})}}


def test_what_an_executor_calls_goes_after_the_executor_s_last_pod():
    """An executor that ends answers what is under way: its nodes in other Pods, and their Services, must be there."""
    graph = node("router", type="ROUTER", children=[node("a"), node("b")])
    parts = [component("router"), component("a"), component("b")]
    wanted = objects(sdep())
    world = settled(sdep(predictor(graph=graph, componentSpecs=parts)))
    world = carried_out(actions(wanted, world), world)
    first = actions(wanted, world)
    assert lines(first) == ["Delete ConfigMap iris-main-0-router-graph", "Delete Deployment iris-main-0-router"]
    world = carried_out(first, world)
    staying = pod("iris-main-0-clf", **{"seldon-app": "iris-main"})
    for leaving in (
        pod("iris-main-0-router", **{"seldon-app": "iris-main"}),
        pod("iris-main-0-router", is_going=True, **{"seldon-app": "iris-main"}),
        pod("iris-main-0-clf", is_going=True, **{"seldon-app": "iris-main"}),
    ):
        assert actions(wanted, world, None, [staying, leaving]) == []
    last = actions(wanted, world, None, [staying, pod("iris-main-1-a"), pod("iris-main-2-b", is_going=True)])
    assert [line for line in lines(last) if "Deployment" in line] == [
        "Delete Deployment iris-main-1-a",
        "Delete Deployment iris-main-2-b",
    ]
    assert "Delete Service iris-main-a" in lines(last)


def test_renamed_predictor_gets_requests_when_it_is_ready_and_not_before():
    before = settled(sdep(predictor("old")))
    wanted = objects(sdep(predictor("new")))
    first = actions(wanted, before)
    assert "Update VirtualService iris" not in lines(first)
    assert actions(wanted, carried_out(first, before, ready=False)) == [], "held, and nothing old is deleted"
    ready = carried_out(first, before)
    second = actions(wanted, ready)
    assert lines(second) == ["Update VirtualService iris"]
    third = actions(wanted, carried_out(second, ready))
    assert {step.verb for step in third} == {"Delete"}
    assert "Delete Deployment iris-old-0-clf" in lines(third)


def test_new_canary_beside_a_ready_predictor_is_routed_at_once():
    before = settled(sdep(predictor("a", traffic=100)))
    steps = actions(objects(sdep(predictor("a", traffic=90), predictor("b", traffic=10))), before)
    assert "Update VirtualService iris" in lines(steps)


def test_what_somebody_changed_is_changed_back():
    world = settled(sdep(predictor(replicas=2)))
    world["Deployment", "iris-main-0-clf"]["spec"]["replicas"] = 7
    (step,) = actions(objects(sdep(predictor(replicas=2))), world)
    assert (step.verb, step.reason) == ("Update", "spec.replicas differs")


def test_removed_field_is_noticed():
    before = settled(sdep(annotations={"seldon.io/istio-retries": "3"}))
    steps = actions(objects(sdep()), before)
    assert "Update VirtualService iris" in lines(steps)


def test_what_is_being_deleted_is_not_deleted_again():
    world = settled(sdep(predictor("a", traffic=100), predictor("b", traffic=0)))
    for key, obj in world.items():
        if "-b" in key[1]:
            obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    steps = actions(objects(sdep(predictor("a", traffic=100))), world)
    assert not [step for step in steps if step.verb == "Delete"]


@pytest.mark.parametrize(("one", "other"), [("0.5", "500m"), ("1024Mi", "1Gi"), ("1e3", "1k"), ("1", "1000m")])
def test_amounts_written_differently_are_equal(one, other):
    assert amount(one) == amount(other) is not None
    limits = {"resources": {"limits": {"cpu": one}}}
    assert first_difference(limits, {"resources": {"limits": {"cpu": other}}}) is None


def test_amounts_count_in_quantities_only():
    assert first_difference({"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "A", "value": "1000m"}]})
    assert amount("many") is None


@pytest.mark.parametrize(
    ("spec", "status", "expected"),
    [
        ({"replicas": 2}, {"updatedReplicas": 2, "readyReplicas": 2}, True),
        ({"replicas": 2}, {"updatedReplicas": 2, "readyReplicas": 1, "unavailableReplicas": 1}, False),
        ({"replicas": 1}, {"updatedReplicas": 0, "readyReplicas": 1}, False),
        ({"replicas": 0}, {}, True),
        ({}, {}, False),
    ],
)
def test_deployment_is_ready_when_all_new_replicas_are(spec, status, expected):
    assert is_ready({"metadata": {}, "spec": spec, "status": status}) is expected


def test_deployment_of_an_older_generation_is_not_ready():
    assert not is_ready({"metadata": {"generation": 2}, "spec": {}, "status": {**READY, "observedGeneration": 1}})


MANIFESTS = st.builds(
    lambda names, share, replicas: sdep(
        *(
            predictor(
                name, traffic=100 if len(names) == 1 else (share if index == 0 else 100 - share), replicas=replicas
            )
            for index, name in enumerate(names)
        )
    ),
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=2, unique=True),
    st.integers(0, 100),
    st.integers(0, 3),
)


@settings(deadline=None, max_examples=60)
@given(MANIFESTS, MANIFESTS)
def test_any_change_converges_and_then_rests(before, after):
    world, wanted = settled(before), objects(after)
    for _ in range(5):
        steps = actions(wanted, world)
        if not steps:
            break
        world = carried_out(steps, world)
    assert actions(wanted, world) == []
    assert set(world) == {key_of(obj) for obj in wanted}


@settings(deadline=None, max_examples=60)
@given(MANIFESTS, MANIFESTS)
def test_no_deployment_is_deleted_in_a_round_that_writes(before, after):
    steps = actions(objects(after), settled(before))
    verbs = {step.verb for step in steps}
    assert "Delete" not in verbs or verbs == {"Delete"}


def selected(world: World) -> str:
    return str(world["Service", "yolo-stable"]["spec"]["selector"].get("slipway.dev/revision", ""))


def at(*versions: str) -> World:
    """The world in which the first of ``versions`` serves, and the others are warm."""
    return carried_out(actions(desired(*follower(*versions)), {}), {})


def test_new_revision_is_selected_when_every_part_of_it_is_ready():
    wanted = desired(*follower("2", "1"))
    first = actions(wanted, at("1"))
    assert not [step for step in first if step.verb != "Create"], "the Services wait"
    world = carried_out(first, at("1"))
    new = revision("stable", "2").name
    world["Deployment", f"yolo-stable-1-yolo-detector-{new}"]["status"] = {}
    assert actions(wanted, world) == []
    second = actions(wanted, carried_out(first, at("1")))
    assert lines(second) == [
        "Update Service yolo-stable",
        "Update Service yolo-stable-image-transformer",
        "Update Service yolo-stable-yolo-detector",
    ]


def test_going_back_is_one_round_of_services():
    steps = actions(desired(*follower("1", "2")), at("2", "1"))
    assert {(step.verb, step.object["kind"]) for step in steps} == {("Update", "Service")}
    assert {step.reason for step in steps} == {"spec.selector.slipway.dev/revision differs"}
    assert selected(carried_out(steps, at("2", "1"))) == revision("stable", "1").name


def test_going_back_from_what_crashes_waits_for_no_replica():
    world = at("2", "1")
    for (kind, name), obj in world.items():
        if kind == "Deployment":
            obj["spec"]["replicas"] = 3
            obj["status"] = {"readyReplicas": 0 if "-v2-" in name else 1, "unavailableReplicas": 2}
    steps = actions(desired(*follower("1", "2")), world)
    assert "Update Service yolo-stable" in lines(steps)


def test_version_that_nobody_wants_any_more_goes_although_the_next_is_not_ready():
    broken = carried_out(actions(desired(*follower("3", "1")), at("1")), at("1"))
    for (kind, name), obj in broken.items():
        if kind == "Deployment" and "-v3-" in name:
            obj["status"] = {"unavailableReplicas": 1}
    steps = actions(desired(*follower("4", "1")), broken)
    for part in ("0-image-transformer", "1-yolo-detector"):
        gone = [line for line in lines(steps) if line.startswith("Delete")]
        assert gone == [f"Delete Deployment yolo-stable-{part}-{revision('stable', '3').name}"]
        assert not [line for line in lines(steps) if "Update Service" in line]
        broken = carried_out([step for step in steps if step.verb == "Delete"], broken)
        steps = actions(desired(*follower("4", "1")), broken)


def test_what_serves_is_not_deleted_before_another_does():
    steps = actions(desired(*follower("2")), at("1"))
    assert not [step for step in steps if step.verb == "Delete"]
    world = carried_out(steps, at("1"), ready=False)
    assert not [step for step in actions(desired(*follower("2")), world) if step.verb == "Delete"]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from("123"), min_size=1, max_size=2, unique=True),
    st.lists(st.sampled_from("123"), min_size=1, max_size=2, unique=True),
)
def test_any_change_of_revisions_converges_and_then_rests(before, after):
    world, wanted = at(*before), desired(*follower(*after))
    for _ in range(6):
        steps = actions(wanted, world)
        if not steps:
            break
        assert selected(world) in {revision("stable", version).name for version in (before[0], after[0])}
        world = carried_out(steps, world)
    assert actions(wanted, world) == []
    assert set(world) == {key_of(obj) for obj in wanted}
    assert selected(world) == revision("stable", after[0]).name


def test_stamp_changes_with_the_object():
    one, other = {"metadata": {"name": "x"}, "a": 1}, {"metadata": {"name": "x"}, "a": 2}
    assert stamped(one) != stamped(other)
    assert stamped(one) == stamped(deepcopy(one))


def test_what_the_api_made_of_an_apply_is_not_applied_again_until_somebody_changes_it():
    world = settled(sdep())
    deployment = world["Deployment", "iris-main-0-clf"]
    deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = "25%"
    wanted = objects(sdep())
    assert lines(actions(wanted, world)) == ["Update Deployment iris-main-0-clf"]
    accepted = {("Deployment", "iris-main-0-clf"): fingerprint(deployment)}
    assert actions(wanted, world, accepted) == []
    deployment["status"]["readyReplicas"] = 0
    assert actions(wanted, world, accepted) == []
    deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = "50%"
    assert lines(actions(wanted, world, accepted)) == ["Update Deployment iris-main-0-clf"]
