"""The graph in compose.yaml is the Pod that the controller makes of seldon/base/yolo."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.compose import files, gateway_arguments, pod_template
from slipway.contract.quantity import parse_quantity
from tests.compose.files import mounts, services, words
from tests.data import REPOSITORY

SPEC: dict[str, Any] = pod_template()["spec"]
SIDE_BY_SIDE = {container["name"]: container for container in SPEC["containers"]}
BEFORE = {container["name"]: container for container in SPEC["initContainers"]}
ALL = {**BEFORE, **SIDE_BY_SIDE}
ASKED_BY_ITSELF = {"SLIPWAY_MODEL_SOURCE", "SLIPWAY_MODEL_DIGEST"}
"""What the controller asked the registry: without one the initializer does."""
PATHS = {
    "/etc/podinfo": ("/etc/podinfo/annotations", "./compose/pod/annotations"),
    "/etc/slipway/predictor": ("/etc/slipway/predictor/predictor.json", "./compose/pod/predictor.json"),
    "/mnt/models": ("/mnt/models", "models"),
}
"""Folder of a Pod's container → what is mounted for it here."""


def test_every_container_of_the_pod_is_a_service() -> None:
    assert ALL.keys() <= services().keys()
    using = {name for name, service in services().items() if service.get("network_mode") == "service:pod"}
    assert using == SIDE_BY_SIDE.keys(), "they share one address, as in a Pod"


@pytest.mark.parametrize("name", sorted(ALL))
def test_image_words_and_variables_are_the_pods(name: str) -> None:
    service, container = services()[name], ALL[name]
    assert service["image"] == container["image"]
    assert words(service, "command") == container.get("args", [])
    assert "command" not in container
    wanted = {item["name"]: item["value"] for item in container["env"] if item["name"] not in ASKED_BY_ITSELF}
    assert (service.get("environment") or {}) == wanted
    assert service["user"].partition(":")[0] == str(SPEC["securityContext"]["runAsUser"])
    assert service["stop_grace_period"] == f"{SPEC['terminationGracePeriodSeconds']}s"


@pytest.mark.parametrize("name", sorted(ALL))
def test_service_may_do_no_more_than_the_pod_s_container(name: str) -> None:
    """A profile of seccomp is Docker's default, too."""
    service, context = services()[name], ALL[name]["securityContext"]
    assert service["cap_drop"] == context["capabilities"]["drop"]
    assert "cap_add" not in service
    assert ("no-new-privileges:true" in service["security_opt"]) is not context["allowPrivilegeEscalation"]
    assert service["read_only"] >= context.get("readOnlyRootFilesystem", False)


@pytest.mark.parametrize("name", sorted(ALL))
def test_what_is_mounted_is_what_the_pod_mounts(name: str) -> None:
    found = {target: pair for target, pair in mounts(services()[name]).items() if "with-secret" not in target}
    wanted = {}
    for mount in ALL[name]["volumeMounts"]:
        target, source = PATHS[mount["mountPath"]]
        is_read_only = mount.get("readOnly", False) or source != "models"
        wanted[target] = (source, is_read_only)
    assert found == wanted


BOUNDED = sorted(name for name, container in ALL.items() if "limits" in container.get("resources", {}))


@pytest.mark.parametrize("name", BOUNDED)
def test_limits_of_the_pod_are_kept(name: str) -> None:
    limits = ALL[name]["resources"]["limits"]
    given = services()[name]["deploy"]["resources"]["limits"]
    assert parse_quantity(given["cpus"]) == parse_quantity(limits["cpu"])
    assert parse_quantity(f"{given['memory']}i") == parse_quantity(limits["memory"])


@pytest.mark.parametrize("name", sorted(SIDE_BY_SIDE))
def test_health_is_asked_where_the_pod_is_asked_for_readiness(name: str) -> None:
    probe = SIDE_BY_SIDE[name]["readinessProbe"]
    asked = " ".join(services()[name]["healthcheck"]["test"])
    if "tcpSocket" in probe:
        assert f"('127.0.0.1', {probe['tcpSocket']['port']})" in asked
    else:
        assert f"http://127.0.0.1:8000{probe['httpGet']['path']}'" in asked


def test_the_initializer_has_what_the_models_secret_says(drawn: dict[str, dict[str, str]]) -> None:
    (name,) = BEFORE
    secret = BEFORE[name]["envFrom"][0]["secretRef"]["name"]
    assert services()[name]["secrets"] == [secret.removeprefix("slipway-")]
    assert drawn["model-storage"].keys() == {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ENDPOINT_URL",
        "AWS_DEFAULT_REGION",
        "MLFLOW_TRACKING_URI",
        "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_TRACKING_PASSWORD",
    }


@pytest.mark.parametrize("name", sorted(files()))
def test_generated_files_are_those_of_the_generator(name: str) -> None:
    found = (REPOSITORY / "compose" / name).read_text()
    assert found == files()[name], "run `python -m scripts.compose`"


def test_no_generated_file_is_left_over() -> None:
    there = {
        f"{folder}/{path.name}" for folder in ("mesh", "pod") for path in (REPOSITORY / "compose" / folder).iterdir()
    }
    assert there == files().keys()


def test_the_gateway_is_started_as_on_one_machine() -> None:
    service = services()["gateway"]
    assert [*words(service, "entrypoint"), *words(service, "command")] == ["envoy", *gateway_arguments()]
