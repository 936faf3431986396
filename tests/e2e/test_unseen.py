"""A SeldonDeployment that this repository has never seen: YAML, one folder below images/, one registered model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import guest
from tests.e2e.platform import Platform

pytestmark = [pytest.mark.data, pytest.mark.usefixtures("walkers")]
PHOTO = guest.PHOTO


def model_of(registered: dict[str, Any]) -> dict[str, str]:
    return {key: registered[key] for key in ("name", "version", "digest")}


def uids(platform: Platform) -> set[str]:
    return {pod["metadata"]["uid"] for pod in platform.pods(guest.NAMESPACE)}


def scale(platform: Platform, replicas: int) -> None:
    patch = [{"op": "replace", "path": "/spec/predictors/0/replicas", "value": replicas}]
    platform.kubectl("patch", "sdep", guest.NAME, "-n", guest.NAMESPACE, "--type", "json", "-p", json.dumps(patch))
    platform.wait_available(guest.NAME, guest.NAMESPACE)


async def test_unseen_answers_over_rest_and_grpc(platform: Platform, registered: dict[str, Any]) -> None:
    photo = PHOTO.read_bytes()
    rest, grpc = await guest.over_rest(platform, photo), await guest.over_grpc(platform, photo)
    assert rest.body["counts"]["body"] == len(rest.body["detections"]) >= 1
    assert (rest.body["unit"], rest.body["greeting"]) == ("walkers", "first")
    assert rest.body["model"] == grpc.body["model"] == model_of(registered)
    assert rest.model == grpc.model == f"{registered['name']}/{registered['version']} {registered['digest']}"
    assert grpc.body["counts"] == rest.body["counts"]


def test_unseen_status_names_version_and_digest(platform: Platform, registered: dict[str, Any]) -> None:
    status = platform.get("sdep", guest.NAME, guest.NAMESPACE)["status"]
    (model,) = status["models"]
    assert {**model, **model_of(registered)} == model
    assert (model["predictor"], model["node"], model["uri"]) == ("main", "detector", "models:/bodies@champion")
    assert status["traffic"] == {"declared": {"main": 100}, "effective": {"main": 100}}
    assert {part["availableReplicas"] for part in status["deploymentStatus"].values()} == {2}
    assert len(status["deploymentStatus"]) == 2


def test_unseen_runs_two_replicas_of_each_component(platform: Platform, registered: dict[str, Any]) -> None:
    pods = platform.pods(guest.NAMESPACE)
    containers = [sorted(container["name"] for container in pod["spec"]["containers"]) for pod in pods]
    assert sorted(containers) == [
        ["counter", "resize", "seldon-container-engine"],
        ["counter", "resize", "seldon-container-engine"],
        ["detector"],
        ["detector"],
    ]
    assert len({pod["status"]["podIP"] for pod in pods}) == 4
    assert {digest for pod in pods for digest in wanted_digests(pod)} == {registered["digest"]}


def wanted_digests(pod: dict[str, Any]) -> list[str]:
    """What the Pod's model initializers were told to verify."""
    return [
        variable["value"]
        for container in pod["spec"].get("initContainers", ())
        for variable in container["env"]
        if variable["name"] == "SLIPWAY_MODEL_DIGEST"
    ]


async def test_unseen_ignores_a_moved_alias_also_when_scaled(platform: Platform, registered: dict[str, Any]) -> None:
    before = uids(platform)
    other = guest.register(platform, guest.OTHER_NETWORK, names="coco", alias="champion")
    assert other["digest"] != registered["digest"]
    try:
        scale(platform, 3)
        after = platform.pods(guest.NAMESPACE)
        assert before < {pod["metadata"]["uid"] for pod in after}
        assert {digest for pod in after for digest in wanted_digests(pod)} == {registered["digest"]}
        for _ in range(6):
            answer = await guest.over_rest(platform, PHOTO.read_bytes())
            assert answer.body["model"] == model_of(registered)
        (model,) = platform.get("sdep", guest.NAME, guest.NAMESPACE)["status"]["models"]
        assert model["version"] == registered["version"]
    finally:
        platform.slipway("model", "alias", guest.MODEL, "champion", registered["version"])
        scale(platform, 2)


def test_describe_shows_what_was_made_and_started(platform: Platform) -> None:
    described = platform.kubectl("describe", "sdep", guest.NAME, "-n", guest.NAMESPACE)
    for reason in ("CreateDeployment", "CreateService", "CreateVirtualService", "Updated"):
        assert reason in described
    pod = platform.pods(guest.NAMESPACE, "app")[0]["metadata"]["name"]
    described = platform.kubectl("describe", "pod", pod, "-n", guest.NAMESPACE)
    events = described.partition("Events:")[2]
    for reason in ("Pulled", "Created", "Started"):
        assert reason in events, described
    assert "is sha256:" in events


def test_commands_that_post_protobuf_are_read(platform: Platform) -> None:
    assert platform.kubectl("create", "namespace", "typed") == "namespace/typed created\n"
    assert platform.get("namespace", "typed")["status"]["phase"] == "Active"
    platform.kubectl("delete", "namespace", "typed")


def test_unseen_needed_nothing_but_its_folder(walkers: Path) -> None:
    assert sorted(path.name for path in walkers.iterdir()) == ["image.yaml", "label_counter.py"]
    assert "slipway" not in (walkers / "label_counter.py").read_text()
