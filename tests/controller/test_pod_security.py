"""What of `restricted` is filled in, and what a manifest says and keeps; held against the standard as tests/manifests has it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.contract.sdep import SeldonDeployment
from slipway.controller.desired import desired
from slipway.controller.facts import Facts
from slipway.controller.pod_security import OF_THE_POD, RESTRICTED, own_secured, secured
from slipway.controller.settings import Settings
from tests.contract.manifests import node, predictor, sdep
from tests.controller.cases import CASES, load
from tests.manifests.pod_standard import refused

Object = dict[str, Any]
SILENT: Object = {"name": "clf", "image": "me/clf:1"}
USERS = st.sampled_from([None, 0, 1000])
CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "runAsUser": USERS,
        "runAsNonRoot": st.sampled_from([None, True, False]),
        "seccompProfile": st.sampled_from([None, {"type": "Localhost", "localhostProfile": "a.json"}]),
    },
)
OF_CONTAINERS = st.builds(
    lambda shared, own: {**shared, **own},
    CONTEXTS,
    st.fixed_dictionaries(
        {},
        optional={
            "allowPrivilegeEscalation": st.sampled_from([None, True, False]),
            "capabilities": st.sampled_from([None, {"drop": ["NET_RAW"]}, {"add": ["IPC_LOCK"]}]),
            "privileged": st.sampled_from([None, False]),
            "readOnlyRootFilesystem": st.booleans(),
        },
    ),
)


def made(spec: Object, settings: Settings | None = None, **of_node: Any) -> Object:
    """The PodSpec of one componentSpec whose model is fetched."""
    manifest = sdep(predictor(graph=node(modelUri="s3://m", **of_node), componentSpecs=[{"spec": spec}]))
    objects = desired(SeldonDeployment.from_json(manifest), Facts(settings or Settings()))
    (deployment,) = [item for item in objects if item["kind"] == "Deployment"]
    pod: Object = deployment["spec"]["template"]["spec"]
    return pod


def contexts(pod: Object) -> dict[str, Object]:
    return {item["name"]: item.get("securityContext", {}) for item in (*pod["initContainers"], *pod["containers"])}


def test_pod_of_a_manifest_that_says_nothing_is_let_in() -> None:
    pod = made({"containers": [SILENT, {"name": "beside", "image": "me/beside:1"}], "initContainers": [{"name": "before", "image": "me/before:1"}]})  # fmt: skip
    assert refused(pod) == []
    assert pod["securityContext"] == {"runAsUser": 8888}
    said = contexts(pod)
    assert said.keys() == {"before", "clf-model-initializer", "clf", "beside", "seldon-container-engine"}
    read_only = {name for name, context in said.items() if "readOnlyRootFilesystem" in context}
    assert read_only == {"clf-model-initializer", "seldon-container-engine"}


@pytest.mark.parametrize("case", CASES)
def test_every_pod_of_the_golden_objects_is_let_in(case: str) -> None:
    pods = [item["spec"]["template"]["spec"] for item in desired(*load(case)) if item["kind"] == "Deployment"]
    assert pods
    assert [refused(pod) for pod in pods] == [[]] * len(pods)


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [SILENT], "securityContext": {"runAsUser": 0}},
        {"containers": [{**SILENT, "securityContext": {"runAsUser": 0}}]},
        {"containers": [SILENT], "securityContext": {"fsGroup": 1000}},
        {"containers": [SILENT], "securityContext": {}},
    ],
    ids=str,
)
def test_what_root_or_its_image_s_user_runs_is_left_alone(spec: Object) -> None:
    pod = made(deepcopy(spec))
    assert contexts(pod)["clf"] == spec["containers"][0].get("securityContext", {})
    assert pod["securityContext"] == spec.get("securityContext", {"runAsUser": 8888})


def test_ours_bring_the_standard_into_a_pod_whose_user_nobody_says() -> None:
    said = contexts(made({"containers": [SILENT], "securityContext": {"fsGroup": 1000}}))
    for name in ("clf-model-initializer", "seldon-container-engine"):
        assert RESTRICTED.items() <= said[name].items()


def test_ours_contradict_no_pod_that_root_runs() -> None:
    said = contexts(made({"containers": [SILENT], "securityContext": {"runAsUser": 0}}))
    assert said["seldon-container-engine"] == said["clf-model-initializer"] == {"readOnlyRootFilesystem": True}


@pytest.mark.parametrize(
    ("image", "is_ours"),
    [
        ("slipway/storage-initializer:0.1.0", True),
        ("registry.example:5000/vision/slipway/storage-initializer@sha256:1", True),
        ("seldonio/rclone-storage-initializer:1.17.1", False),
        ("kserve/storage-initializer:v0.11", False),
        ("notslipway/storage-initializer:1", False),
    ],
)
def test_root_of_another_s_initializer_stays_writable(image: str, is_ours: bool) -> None:
    for pod in (
        made({"containers": [SILENT]}, Settings(storage_initializer_image=image)),
        made({"containers": [SILENT]}, storageInitializerImage=image),
    ):
        assert refused(pod) == []
        assert ("readOnlyRootFilesystem" in contexts(pod)["clf-model-initializer"]) is is_ours


@pytest.mark.parametrize("more", [{"privileged": True}, {"capabilities": {"add": ["CAP_SYS_ADMIN"]}}])
def test_more_rights_stand_beside_no_word_that_the_api_refuses_there(more: Object) -> None:
    """``allowPrivilegeEscalation: false`` (Kubernetes, ValidateSecurityContext)."""
    found = secured({**SILENT, "securityContext": more}, OF_THE_POD)["securityContext"]
    assert "allowPrivilegeEscalation" not in found
    assert more.items() <= found.items()


def said_in(context: Object) -> Object:
    """The API drops what is null."""
    return {key: value for key, value in context.items() if value is not None}


@given(pod=CONTEXTS, own=OF_CONTAINERS)
def test_what_is_said_stays_and_nothing_is_contradicted(pod: Object, own: Object) -> None:
    container = {**SILENT, "securityContext": own}
    before = deepcopy((pod, container))
    found = said_in(secured(container, pod)["securityContext"])
    assert (pod, container) == before
    assert said_in(own).items() <= found.items()
    added = found.keys() - said_in(own).keys()
    assert not added & said_in(pod).keys()
    assert not ("runAsNonRoot" in added and {**said_in(pod), **found}.get("runAsUser") == 0)


@given(pod=CONTEXTS)
def test_ours_contradict_no_pod(pod: Object) -> None:
    found = own_secured(SILENT, pod)["securityContext"]
    assert found["readOnlyRootFilesystem"] is True
    assert not found.keys() & said_in(pod).keys()
    assert not ("runAsNonRoot" in found and pod.get("runAsUser") == 0)


@given(pod=CONTEXTS, own=OF_CONTAINERS)
def test_filling_in_twice_is_filling_in_once(pod: Object, own: Object) -> None:
    once = secured({**SILENT, "securityContext": own}, pod)
    assert secured(once, pod) == once


@given(user=st.integers(1, 2**31 - 1), own=st.booleans())
def test_any_ordinary_user_s_container_is_let_in(user: int, own: bool) -> None:
    said = {"runAsUser": user}
    pod, context = ({}, said) if own else (said, {})
    container = secured({**SILENT, "securityContext": context}, pod)
    assert refused({"securityContext": pod, "containers": [container]}) == []
