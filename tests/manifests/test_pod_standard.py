"""A namespace of the level `restricted` takes every Pod that we render, and the standard's controls refuse one by one."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.doctor.checks.pod_security import refused as refused_by_the_doctor
from tests.data import REPOSITORY
from tests.manifests.cluster import templates
from tests.manifests.files import kustomizations, shown
from tests.manifests.kustomizations import built
from tests.manifests.pod_standard import refused
from tests.manifests.test_admission import said

Object = dict[str, Any]
EXAMPLES = [path for path in map(shown, kustomizations("Kustomization")) if path.startswith("seldon/")]
TRAINING = ("kubernetes/training/cpu", "kubernetes/training/gpu")
TAKEN: Object = {
    "containers": [
        {
            "name": "web",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }
    ],
    "volumes": [{"name": "models", "emptyDir": {}}],
}


def rendered(folder: str) -> list[Object]:
    """Each Pod template of a folder, and of what the controller makes of its SeldonDeployments."""
    found: list[Object] = []
    for item in built(REPOSITORY / folder):
        if item["kind"] == "SeldonDeployment":
            made = desired(SeldonDeployment.from_json(item), Facts())
            found += [template for _, template in templates(made)]
        found += [template for _, template in templates([item])]
    return found


@pytest.mark.parametrize("folder", [*EXAMPLES, *TRAINING])
def test_restricted_namespace_takes_every_pod(folder: str) -> None:
    for template in rendered(folder):
        assert refused(template["spec"]) == []
        assert refused_by_the_doctor(template["spec"]) == []
        assert said(template) == []


def test_examples_with_pods_are_most() -> None:
    assert len([folder for folder in EXAMPLES if rendered(folder)]) > len(EXAMPLES) // 2


def changed(container: Object | None = None, **spec: Any) -> Object:
    pod = deepcopy(TAKEN) | spec
    pod["containers"][0]["securityContext"] |= container or {}
    return pod


@pytest.mark.parametrize(
    ("pod", "control"),
    [
        (changed({"allowPrivilegeEscalation": True}), "privilege escalation: web"),
        (changed({"allowPrivilegeEscalation": None}), "privilege escalation: web"),
        (changed({"runAsNonRoot": False}, securityContext={"runAsNonRoot": True}), "running as non-root: web"),
        (changed({"runAsNonRoot": None}), "running as non-root: web"),
        (changed({"runAsUser": 0}), "running as non-root user: web"),
        (changed(securityContext={"runAsUser": 0}), "running as non-root user: the Pod"),
        (changed({"seccompProfile": None}), "seccomp: web"),
        (changed({"seccompProfile": {"type": "Unconfined"}}), "seccomp: web"),
        (changed({"capabilities": {"drop": ["NET_RAW"]}}), "capabilities: web"),
        (changed({"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}), "capabilities: web"),
        (changed(volumes=[{"name": "node", "hostPath": {"path": "/"}}]), "volume types: node"),
        (changed(volumes=[{"name": "disk", "nfs": {"server": "a"}}]), "volume types: disk"),
    ],
    ids=str,
)
def test_each_control_refuses_by_itself(pod: Object, control: str) -> None:
    assert refused(pod) == [control]


def test_containers_of_every_group_are_looked_at_and_the_pod_s_word_counts() -> None:
    assert refused(TAKEN) == []
    shared = {"runAsNonRoot": True, "runAsUser": 8888, "seccompProfile": {"type": "Localhost"}}
    own = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = {"securityContext": shared, "containers": [{"name": "web", "securityContext": own}]}
    assert refused(pod) == []
    for group in ("initContainers", "ephemeralContainers"):
        assert len(refused(pod | {group: [{"name": "more"}]})) == 2
