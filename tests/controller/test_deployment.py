"""The controller's own manifests say what the program takes, and copy what the code says."""

from __future__ import annotations

import json
import subprocess
from functools import cache, reduce
from typing import Any

import pytest
import yaml

from slipway.contract.predictor_servers import SHIPPED
from slipway.controller.meta import MANAGER
from slipway.controller.options import make_parser, settings_of
from slipway.controller.settings import Settings
from tests.data import REPOSITORY

Object = dict[str, Any]


@cache
def built(folder: str) -> list[Object]:
    done = subprocess.run(["kubectl", "kustomize", REPOSITORY / folder], capture_output=True, check=True, text=True)
    return list(yaml.load_all(done.stdout, Loader=yaml.CSafeLoader))


def one(kind: str, folder: str = "kubernetes/controller") -> Object:
    named = "slipway-controller"  # overlays bring the webhook besides
    (found,) = (obj for obj in built(folder) if obj["kind"] == kind and obj["metadata"]["name"] == named)
    return found


def config(prefix: str) -> dict[str, str]:
    (found,) = (obj for obj in built("kubernetes/controller") if obj["metadata"]["name"].startswith(prefix))
    return found["data"]


def arguments(folder: str, tmp_path: Any) -> list[str]:
    """As a kubelet expands them."""
    (container,) = one("Deployment", folder)["spec"]["template"]["spec"]["containers"]
    (tmp_path / "servers.json").write_text(config("slipway-controller-servers")["predictor-servers.json"])
    known = {f"$({name})": value for name, value in config("slipway-controller-images").items()}
    known["/etc/slipway/predictor-servers.json"] = str(tmp_path / "servers.json")
    return [reduce(lambda text, pair: text.replace(*pair), known.items(), word) for word in container["args"]]


@pytest.mark.parametrize(("folder", "has_keda"), [("kubernetes/controller", False), ("kubernetes/overlays/keda", True)])
def test_arguments_are_the_programs_and_say_what_it_does_by_itself(folder, has_keda, tmp_path) -> None:
    parser = make_parser({})
    given = parser.parse_args(arguments(folder, tmp_path))
    assert settings_of(parser, given) == Settings(has_keda=has_keda)
    assert (given.leader_elect, given.health_port) == (True, 8080)


def test_images_are_those_of_the_code() -> None:
    assert json.loads(config("slipway-controller-servers")["predictor-servers.json"]) == dict(SHIPPED)
    images = config("slipway-controller-images")
    assert images == {
        "EXECUTOR_IMAGE": Settings().executor_image,
        "STORAGE_INITIALIZER_IMAGE": Settings().storage_initializer_image,
    }


def test_probes_ask_the_port_that_the_program_serves() -> None:
    (container,) = one("Deployment")["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert port == {"name": "metrics", "containerPort": 8080}
    asked = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: probe["port"] for name, probe in asked.items()} == dict.fromkeys(asked, "metrics")
    assert [probe["path"] for probe in asked.values()] == ["/healthz", "/healthz", "/readyz"]


def test_lease_and_secret_of_the_roles_are_those_of_the_program() -> None:
    named = {
        tuple(rule["resources"]): rule.get("resourceNames") for rule in one("Role")["rules"] if "resourceNames" in rule
    }
    namespace, secret = Settings().default_model_secret
    assert named == {("leases",): [MANAGER], ("secrets",): [secret]}
    assert {obj["metadata"].get("namespace", namespace) for obj in built("kubernetes/controller")} == {namespace}


def test_monitor_finds_the_service() -> None:
    monitor = yaml.safe_load((REPOSITORY / "monitoring/kubernetes/controller.yaml").read_text())["spec"]
    service = one("Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert [item["port"] for item in monitor["endpoints"]] == [item["name"] for item in service["spec"]["ports"]]
