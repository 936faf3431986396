"""mlflow/ says what one machine's MLflow is given, and its Pods may run where the strictest level is enforced."""

from __future__ import annotations

import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.doctor.checks.pod_security import refused
from slipway.onebox.paths import Paths
from slipway.onebox.services import mlflow
from slipway.onebox.services.mlflow_server import write_auth_config
from slipway.onebox.services.postgres import MAJOR, binary
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.settings import Settings
from tests.data import REPOSITORY
from tests.manifests.kustomizations import built

BASE = REPOSITORY / "mlflow" / "base"
OVERLAYS = sorted((REPOSITORY / "mlflow" / "overlays").iterdir())
OTHER_BY_NATURE = {"MLFLOW_BACKEND_STORE_URI"}


def settings() -> dict[str, str]:
    lines = (line for line in (BASE / "settings.env").read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def workloads(folder: Path) -> dict[str, dict[str, Any]]:
    """Name → Pod."""
    found = {}
    for item in built(folder):
        spec = item.get("spec") or {}
        template = (spec.get("jobTemplate", {}).get("spec") or spec).get("template")
        if template:
            found[item["metadata"]["name"]] = template["spec"]
    return found


def test_server_has_the_settings_of_one_machine(tmp_path: Path) -> None:
    server, _ = mlflow.specs(Paths(tmp_path), Settings(), ensure_secrets(tmp_path / "secrets"), env={})
    shared = server.env.keys() & settings().keys() - OTHER_BY_NATURE
    assert {"MLFLOW_DEFAULT_ARTIFACT_ROOT", "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_DISABLE_TELEMETRY"} <= shared
    assert {name: server.env[name] for name in shared} == {name: settings()[name] for name in shared}


def test_login_is_that_of_one_machine(tmp_path: Path) -> None:
    def read(path: Path) -> dict[str, str]:
        config = ConfigParser(interpolation=None)
        config.read_string(path.read_text())
        return {**config["mlflow"], "database_uri": ""}

    write_auth_config(tmp_path / "auth.ini", database_uri="x")
    assert read(BASE / "basic_auth.ini") == read(tmp_path / "auth.ini")


def test_one_release_of_postgresql_dumps_and_serves() -> None:
    """`pg_dump` refuses a server of a newer major version than its own; one machine's is what all this is tried with."""
    images = yaml.safe_load((BASE / "kustomization.yaml").read_text())["images"]
    (tag,) = [image["newTag"] for image in images if image["name"] == "postgres"]
    service = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]["postgres"]
    assert service["image"] == f"postgres:{tag}"
    assert service["volumes"][0] == "postgres:/var/lib/postgresql", "from 18 on: above the folder of each major version"
    here = subprocess.run([binary("pg_dump"), "--version"], check=True, capture_output=True, text=True).stdout
    assert here.split()[-1].split(".")[0] == tag.split(".")[0] == str(MAJOR)


@pytest.mark.parametrize("folder", OVERLAYS, ids=lambda path: path.name)
def test_pods_are_let_in_where_restricted_is_enforced(folder: Path) -> None:
    (namespace,) = [
        item
        for item in yaml.safe_load_all((REPOSITORY / "kubernetes/controller/namespace.yaml").read_text())
        if item["kind"] == "Namespace"
    ]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    found = workloads(folder)
    assert set(found) == {"mlflow", "mlflow-migrate", "mlflow-backup", "mlflow-restore"}
    assert not {name: refused(pod) for name, pod in found.items() if refused(pod)}
    for pod in found.values():
        assert pod["enableServiceLinks"] is False  # else the Service mlflow sets MLFLOW_PORT to an address


def test_no_secret_is_in_a_setting_and_every_password_comes_from_one() -> None:
    assert not [name for name in settings() if any(word in name for word in ("PASSWORD", "SECRET", "KEY"))]
    for pod in workloads(OVERLAYS[0]).values():
        for container in pod.get("initContainers", []) + pod["containers"]:
            assert all("secretKeyRef" in item["valueFrom"] for item in container["env"]), container["name"]


def test_restore_ends_with_the_migration() -> None:
    found = workloads(OVERLAYS[0])
    assert found["mlflow-restore"]["containers"] == found["mlflow-migrate"]["containers"]


def test_whoever_refuses_placeholders_is_given_all_that_the_pod_reads() -> None:
    """The first container that may is one of ours, and what follows reads nothing else."""
    for name, pod in workloads(OVERLAYS[0]).items():
        containers = pod.get("initContainers", []) + pod["containers"]
        read = {item["name"]: item for container in containers for item in container["env"]}
        ours = [container["env"] for container in containers if "slipway.tracking" in container["command"]]
        assert ours, name
        assert {item["name"]: item for env in ours for item in env} == read, name
    found = workloads(OVERLAYS[0])["mlflow"]
    assert found["initContainers"][0]["env"] == found["containers"][0]["env"]


def test_page_makes_secrets_as_the_page_of_the_cluster_does() -> None:
    """From files: what stands in an argument is read by every user of that machine."""
    page, whole = ((REPOSITORY / name).read_text() for name in ("mlflow/README.md", "docs/kubernetes.md"))
    made = [line for line in page.splitlines() if line.startswith(("python -m", "kubectl")) and "secret" in line]
    assert len(made) == 4
    assert all(f"$ {line}\n" in whole for line in made)
    assert "--from-literal" not in page + whole


def test_page_names_every_secret_that_is_read() -> None:
    page = (REPOSITORY / "mlflow" / "README.md").read_text()
    for pod in workloads(OVERLAYS[0]).values():
        for container in pod.get("initContainers", []) + pod["containers"]:
            for item in container["env"]:
                assert f"| `{item['valueFrom']['secretKeyRef']['name']}` |" in page
