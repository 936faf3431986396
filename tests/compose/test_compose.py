"""compose.yaml: its form, what every service has, and that nothing in it hangs in the air."""

from __future__ import annotations

import copy
import json
from configparser import ConfigParser
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml

from scripts.compose import POD_ADDRESS
from slipway import __version__
from slipway.onebox.images.spec import load_image_spec
from tests.compose.files import compose, mounts, services, words
from tests.data import REPOSITORY

ONCE = {"bucket", "migrate", "register", "volume-owners", "yolo-detector-model-initializer"}
CHANGES_OWNERS = "volume-owners"
OURS = sorted(name for name, service in services().items() if service["image"].startswith("slipway/"))


def violations(document: Any) -> list[str]:
    """By the schema of the Compose Specification."""
    text = (files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json").read_text()
    schema = json.loads(text)
    return [error.message for error in jsonschema.validators.validator_for(schema)(schema).iter_errors(document)]


def test_the_file_keeps_to_the_specification() -> None:
    assert violations(compose()) == []


@pytest.mark.parametrize(
    ("key", "value"), [("imagee", "x"), ("ports", 80), ("depends_on", {"s3": {"condition": "ready"}})]
)
def test_the_specification_refuses_what_is_wrong(key: str, value: Any) -> None:
    document = copy.deepcopy(compose())
    document["services"]["gateway"][key] = value
    assert violations(document)


@pytest.mark.parametrize("name", sorted(services()))
def test_every_service_is_pinned_bounded_and_without_rights(name: str) -> None:
    service = services()[name]
    repository, _, tag = service["image"].partition(":")
    assert repository
    assert tag not in ("", "latest")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert all(",size=" in text for text in service["tmpfs"]), "in memory, and without bound"
    assert service["logging"]["options"]["max-size"], "a log grows without bound"
    assert not {"privileged", "pid", "ipc", "devices", "extra_hosts"} & service.keys()
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")


@pytest.mark.parametrize("name", sorted(services()))
def test_root_runs_one_container_with_one_capability_and_no_network(name: str) -> None:
    service = services()[name]
    user, _, group = str(service["user"]).partition(":")
    if name == CHANGES_OWNERS:
        assert (user, service["cap_add"], service["network_mode"]) == ("0", ["CHOWN"], "none")
        assert "secrets" not in service
    else:
        assert int(user) > 0
        assert int(group) > 0
        assert "cap_add" not in service


@pytest.mark.parametrize("name", sorted(set(OURS) - {CHANGES_OWNERS}))
def test_images_of_ours_exist_at_this_version_and_run_as_their_user(name: str) -> None:
    service = services()[name]
    repository, _, tag = service["image"].partition(":")
    assert tag == __version__
    known = {load_image_spec(path.parent).name for path in (REPOSITORY / "images").glob("*/image.yaml")}
    assert repository in known
    assert service["user"] == "8888:8888"


def test_the_images_of_the_first_line_are_those_that_are_used() -> None:
    head = (REPOSITORY / "compose.yaml").read_text().partition("\nname:")[0]
    listed = head.partition('IMAGES="')[2].partition('"')[0].split()
    assert listed == sorted({services()[name]["image"].removeprefix("slipway/").partition(":")[0] for name in OURS})


def test_ports_are_open_to_this_machine_only() -> None:
    ports = {text for service in services().values() for text in service.get("ports") or ()}
    assert ports == {"127.0.0.1:8080:8080", "127.0.0.1:5000:5000", "127.0.0.1:8333:8333"}


@pytest.mark.parametrize("name", sorted(services()))
def test_who_is_waited_for_can_become_what_is_waited_for(name: str) -> None:
    for other, how in (services()[name].get("depends_on") or {}).items():
        target = services()[other]
        if how["condition"] == "service_healthy":
            assert target["healthcheck"]["retries"] > 0, f"{other} never says that it is healthy"
        elif how["condition"] == "service_completed_successfully":
            assert other in ONCE, f"{other} never completes"
        else:
            assert how["condition"] == "service_started"


def test_nobody_waits_for_himself() -> None:
    done: set[str] = set()
    while rest := {name for name in services() if name not in done}:
        free = {name for name in rest if set(services()[name].get("depends_on") or ()) <= done}
        assert free, f"these wait for each other: {rest}"
        done |= free


def test_what_is_mounted_is_there_and_every_volume_and_secret_is_used() -> None:
    volumes, secrets = set(), set()
    for name, service in services().items():
        for source, is_read_only in mounts(service).values():
            if source.startswith("./"):
                assert (REPOSITORY / source).exists(), f"{name}: {source}"
                assert is_read_only, f"{name}: {source} can be written to"
            else:
                volumes.add(source)
        secrets |= set(service.get("secrets") or ())
        for file in [service["env_file"]] if "env_file" in service else []:
            assert (REPOSITORY / file).exists()
    assert volumes == set(compose()["volumes"])
    assert secrets == set(compose()["secrets"])


def test_no_value_of_a_secret_is_in_the_file() -> None:
    for service in services().values():
        named = [
            key for key in service.get("environment") or {} if "PASSWORD" in key or "SECRET" in key or "TOKEN" in key
        ]
        assert all(key.endswith("_FILE") for key in named)


def test_versions_of_others_are_those_that_everything_else_was_made_with() -> None:
    images = {name: service["image"] for name, service in services().items()}
    lock = (REPOSITORY / "requirements" / "platform.txt").read_text()
    envoy = lock.partition("\nenvoy-server==")[2].partition(" ")[0]
    assert images["gateway"] == f"envoyproxy/envoy:v{envoy}"
    charts = (REPOSITORY / "helm-values" / "README.md").read_text()
    (row,) = [line for line in charts.splitlines() if line.startswith("| seaweedfs | seaweedfs |")]
    assert images["s3"] == f"chrislusf/seaweedfs:{row.split('|')[3].strip().removesuffix('.0')}"


def _container(manifest: str) -> dict[str, Any]:
    obj = yaml.safe_load((REPOSITORY / "mlflow" / "base" / manifest).read_text())
    (container,) = obj["spec"]["template"]["spec"]["containers"]
    return dict(container)


@pytest.mark.parametrize(("name", "manifest"), [("mlflow", "deployment.yaml"), ("migrate", "migration.yaml")])
def test_mlflow_runs_as_its_manifests_say(name: str, manifest: str, drawn: dict[str, dict[str, str]]) -> None:
    service, container = services()[name], _container(manifest)
    assert words(service, "command") == container["command"]
    assert service["env_file"] == "mlflow/base/settings.env"
    known = {*service["environment"], *(key for secret in service["secrets"] for key in drawn[secret])}
    wanted = {item["name"] for item in container["env"]}
    assert wanted <= known, f"without {wanted - known}"
    mounted = mounts(service)
    assert mounted["/etc/mlflow/basic_auth.ini"] == ("./mlflow/base/basic_auth.ini", True)


def test_the_databases_that_mlflow_wants_are_made(drawn: dict[str, dict[str, str]]) -> None:
    config = ConfigParser(interpolation=None)
    config.read(REPOSITORY / "mlflow" / "base" / "basic_auth.ini")
    wanted = config["mlflow"]["database_uri"].rpartition("/")[2]
    made = (REPOSITORY / "compose" / "postgres" / "mlflow_auth.sql").read_text()
    assert f"CREATE DATABASE {wanted};" in made
    environment = services()["postgres"]["environment"]
    assert environment["POSTGRES_DB"] == "mlflow"
    assert environment["POSTGRES_USER"] == services()["mlflow"]["environment"]["PGUSER"]
    assert drawn


def test_the_database_cannot_be_reached_from_outside_its_network() -> None:
    assert compose()["networks"]["database"] == {"internal": True}
    assert services()["postgres"]["networks"] == ["database"]
    assert "ports" not in services()["postgres"]


def test_other_containers_reach_s3_alone_of_seaweedfs() -> None:
    """Its master, volumes and filer ask for no key. What ``-ip.bind`` does not say, ``-ip`` does: SeaweedFS' weed/command/server.go."""
    flags = dict(word.removeprefix("-").split("=", 1) for word in words(services()["s3"], "command") if "=" in word)
    assert {name: value for name, value in flags.items() if name.endswith(("ip", "ip.bind"))} == {
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "s3.ip.bind": "0.0.0.0",
    }


def test_storage_is_reached_by_who_has_a_key_and_not_by_the_pod(drawn: dict[str, dict[str, str]]) -> None:
    assert services()["s3"]["networks"] == ["storage"]
    inside = {name for name, service in services().items() if "storage" in (service.get("networks") or ())}
    with_keys = {
        name
        for name, service in services().items()
        if any("AWS_ACCESS_KEY_ID" in drawn.get(secret, {}) for secret in service.get("secrets") or ())
    }
    assert inside == (with_keys | {"s3"}) - {"migrate"}


def test_the_pod_has_the_address_that_the_gateway_sends_to() -> None:
    assert services()["pod"]["networks"] == {"platform": {"ipv4_address": POD_ADDRESS}}
    (subnet,) = compose()["networks"]["platform"]["ipam"]["config"]
    assert subnet["subnet"] == POD_ADDRESS.rpartition(".")[0] + ".0/24"
