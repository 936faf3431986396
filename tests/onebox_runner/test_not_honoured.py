"""Who is told what of a template is not carried out here, and how often."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from slipway.onebox.runner.events import Events
from slipway.onebox.runner.not_honoured import NotHonoured, is_told_of_itself
from slipway.onebox.runner.unhonoured import unhonoured_fields
from slipway.onebox.runner.workload_steps import owner_reference
from tests.onebox_runner.objects import deployment_object, pod_object, running_pod

GOLDEN = Path(__file__).parents[1] / "controller" / "golden"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
SDEP = {"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", "metadata": {"name": "s", "uid": "u"}}


class Told(list[tuple[str, str]]):
    """(kind and name, message) of each event."""

    def record(self, obj: dict[str, Any], reason: str, message: str, *, is_warning: bool) -> None:
        assert (reason, is_warning) == ("NotHonoured", True)
        self.append((f"{obj['kind']}/{obj['metadata']['name']}", message))


def deployment(*, generation: int = 1, owner: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:
    made = deployment_object()
    made["metadata"]["generation"] = generation
    made["spec"]["template"]["spec"] |= pod
    if owner is not None:
        made["metadata"]["ownerReferences"] = [owner_reference(owner)]
    return made


def looked(*rounds: list[dict[str, Any]]) -> Told:
    told = Told()
    looker = NotHonoured(cast("Events", told))
    for owners in rounds:
        looker.look(owners)
    return told


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_controller_asks_for_nothing_that_is_not_carried_out(path: Path) -> None:
    found = yaml.safe_load_all(path.read_text())
    templates = [obj["spec"]["template"] for obj in found if obj["kind"] == "Deployment"]
    assert [unhonoured_fields(template) for template in templates] == [[]] * len(templates)


@pytest.mark.parametrize(
    ("pod", "container", "lost"),
    [
        ({"runAsUser": 8888, "runAsGroup": 8888, "runAsNonRoot": True, "fsGroup": 7}, RESTRICTED, []),
        ({}, {"allowPrivilegeEscalation": True, "privileged": False, "seccompProfile": {"type": "Unconfined"}}, []),
        ({"runAsUser": 0}, {}, ["securityContext.runAsUser"]),
        ({"runAsUser": 1000, "supplementalGroups": []}, {}, ["securityContext.runAsUser"]),
        ({"sysctls": [{"name": "a", "value": "1"}]}, {}, ["securityContext.sysctls"]),
        ({}, {"privileged": True}, ["containers[main].securityContext.privileged"]),
        ({}, {"capabilities": {"add": ["NET_ADMIN"]}}, ["containers[main].securityContext.capabilities.add"]),
        ({}, {"seccompProfile": {"type": "Localhost"}}, ["containers[main].securityContext.seccompProfile"]),
    ],
)
def test_rights_are_named_where_their_absence_is_a_loss(
    pod: dict[str, Any], container: dict[str, Any], lost: list[str]
) -> None:
    main = {"name": "main", "image": "a:1", "securityContext": container}
    assert unhonoured_fields(pod_object(spec={"containers": [main], "securityContext": pod})) == lost


def test_owner_is_told_once_and_again_when_it_asks_for_something_else() -> None:
    first, scaled = deployment(hostNetwork=True), deployment(generation=2, hostNetwork=True)
    changed = deployment(generation=3, hostPID=True)
    said = "Deployment d: not carried out on this machine: "
    assert looked([first], [first], [scaled]) == [("Deployment/d", f"{said}hostNetwork")]
    assert looked([first], [changed]) == [("Deployment/d", f"{said}hostNetwork"), ("Deployment/d", f"{said}hostPID")]


def test_who_controls_a_deployment_is_told_and_replica_sets_of_one_are_not() -> None:
    made = deployment(owner=SDEP, hostNetwork=True)
    replica_set = {**deployment(owner=made, hostNetwork=True), "kind": "ReplicaSet"}
    replica_set["metadata"] = {**replica_set["metadata"], "uid": "another"}
    told = [("SeldonDeployment/s", "Deployment d: not carried out on this machine: hostNetwork")]
    assert looked([made, replica_set]) == told
    assert looked([{**deployment(hostNetwork=True), "kind": "ReplicaSet"}])[0][0] == "ReplicaSet/d"


def test_template_that_cannot_be_read_keeps_nobody_else_from_being_told() -> None:
    odd = deployment(containers="main")
    odd["metadata"] = {**odd["metadata"], "uid": "another"}
    assert [name for name, _ in looked([odd, deployment(hostNetwork=True)])] == ["Deployment/d"]


def test_pod_is_told_of_itself_only_where_no_template_that_is_followed_made_it() -> None:
    by_a_set = running_pod("p", {**deployment_object(), "kind": "ReplicaSet"}, ready=True)
    assert not is_told_of_itself(by_a_set)
    assert is_told_of_itself(running_pod("p", {**deployment_object(), "kind": "Workflow"}, ready=True))
    assert is_told_of_itself(pod_object())
