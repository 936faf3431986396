"""The secrets of a cluster: what manifests and values ask for is drawn, for the owner's eyes, and only once."""

from __future__ import annotations

import itertools
import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import cluster_secrets
from slipway.onebox.services.credentials import MLFLOW_READER, reader, render_credentials
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.settings import Settings
from tests.data import REPOSITORY
from tests.helm_values.charts import FOLDER, load

MADE_BY_OTHERS = {"mlflow-db-app"}
"""CloudNativePG's own."""


def _files() -> cluster_secrets.Files:
    numbers = itertools.count()
    return cluster_secrets.platform_files(lambda: f"drawn-{next(numbers)}")


def _variables(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def _wanted(folder: Path) -> Iterator[tuple[str, str]]:
    """(Secret, key) of every reference that is not optional."""
    for path in folder.rglob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text()):
            yield from _refs(document)


def _refs(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for item in value:
            yield from _refs(item)
    if isinstance(value, dict):
        ref = value.get("secretKeyRef")
        if isinstance(ref, dict) and not ref.get("optional"):
            yield ref["name"], ref["key"]
        for item in value.values():
            yield from _refs(item)


def test_mlflow_finds_every_key() -> None:
    files = _files()
    wanted = {(name, key) for name, key in _wanted(REPOSITORY / "mlflow") if name not in MADE_BY_OTHERS}
    assert wanted
    assert not [(name, key) for name, key in wanted if key not in _variables(files[f"{name}.env"])]


def test_hub_finds_every_key_of_its_user() -> None:
    files = cluster_secrets.account_files("user-ada", _files()["scientist.env"], lambda: "drawn")
    wanted = dict(_refs(load(FOLDER / "jupyterhub.yaml")["singleuser"]))
    assert set(wanted) == {"user-{username}"}
    keys = {key for _, key in _refs(load(FOLDER / "jupyterhub.yaml")["singleuser"])}
    assert keys <= set(_variables(files["user-ada.env"]))
    assert json.loads(files["user-ada.json"]) == {"username": "user-ada", "password": "drawn"}


def test_training_of_a_user_finds_the_keys_of_one_machine(tmp_path: Path) -> None:
    """The Secret `slipway-training` has them there (slipway/onebox/services/hub/accounts.py)."""
    files = cluster_secrets.account_files("user-ada", _files()["scientist.env"], lambda: "drawn")
    on_one_machine = render_credentials(Settings(), reader(ensure_secrets(tmp_path / "secrets")))
    assert set(_variables(files["user-ada.env"])) == set(on_one_machine)


def test_grafana_and_the_store_find_theirs() -> None:
    files = _files()
    admin = load(FOLDER / "kube-prometheus-stack.yaml")["grafana"]["admin"]
    assert {admin["userKey"], admin["passwordKey"]} == set(_variables(files[f"{admin['existingSecret']}.env"]))
    assert f"{load(FOLDER / 'seaweedfs.yaml')['s3']['existingConfigSecret']}.json" in files


def test_addresses_are_those_of_the_manifests() -> None:
    example = load(REPOSITORY / "mlflow" / "components" / "placeholder-secrets" / "slipway-model-storage.yaml")
    wanted = {key: value for key, value in example["stringData"].items() if value != "CHANGE-ME"}
    drawn = _variables(_files()["slipway-model-storage.env"])
    assert set(drawn) == set(example["stringData"])
    assert {key: drawn[key] for key in wanted} == wanted
    assert drawn["MLFLOW_TRACKING_USERNAME"] == MLFLOW_READER
    hub = load(FOLDER / "jupyterhub.yaml")["singleuser"]["extraEnv"]
    same = ("AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI")
    assert {key: hub[key] for key in same} == {key: drawn[key] for key in same}


def test_registrar_comes_from_outside_by_forwarded_ports() -> None:
    drawn = _variables(_files()["registrar.env"])
    assert {value for key, value in drawn.items() if key.endswith(("_URI", "_URL"))} == {
        "http://127.0.0.1:5000",
        "http://127.0.0.1:8333",
    }
    assert drawn["MLFLOW_TRACKING_USERNAME"] == "admin"
    assert drawn["MLFLOW_TRACKING_PASSWORD"] == _variables(_files()["mlflow-admin.env"])["password"]


def test_store_lets_each_role_do_what_it_is_for() -> None:
    identities = {item["name"]: item for item in json.loads(_files()["seaweedfs-s3.json"])["identities"]}
    buckets = {item["name"] for item in load(FOLDER / "seaweedfs.yaml")["s3"]["createBuckets"]}
    named = {action.split(":")[1] for item in identities.values() for action in item["actions"] if ":" in action}
    assert named == buckets
    assert identities["reader"]["actions"] == ["Read:slipway-models", "List:slipway-models"]
    assert not [action for action in identities["backup"]["actions"] if not action.endswith(":slipway-backups")]
    assert [name for name, item in identities.items() if "Admin" in item["actions"]] == ["administrator"]
    secrets = [item["credentials"][0]["secretKey"] for item in identities.values()]
    assert len(set(secrets)) == len(secrets)


def test_files_are_the_owners_and_stay(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert cluster_secrets.main([str(folder)]) == 0
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    before = {path.name: path.read_text() for path in folder.iterdir()}
    assert cluster_secrets.main([str(folder)]) == 0
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    assert cluster_secrets.main([str(folder), "--user", "ada"]) == 0
    assert {path.name for path in folder.iterdir()} - set(before) == {"user-ada.env", "user-ada.json"}


def test_drawn_secrets_are_long_and_never_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster_secrets.main([str(tmp_path)])
    password = _variables((tmp_path / "mlflow-admin.env").read_text())["password"]
    assert len(password) >= 43  # 32 bytes
    assert password not in capsys.readouterr().out


def test_half_a_set_is_refused(tmp_path: Path) -> None:
    cluster_secrets.main([str(tmp_path)])
    (tmp_path / "seaweedfs-s3.json").unlink()
    with pytest.raises(SystemExit, match=r"seaweedfs-s3\.json missing beside others"):
        cluster_secrets.main([str(tmp_path)])


def test_user_before_the_platform_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds the platform's own secrets"):
        cluster_secrets.main([str(tmp_path / "new"), "--user", "ada"])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("user", ["Ada", "ada.lovelace", "-", "../x"])
def test_name_that_is_no_namespace_is_refused(tmp_path: Path, user: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        cluster_secrets.main([str(tmp_path), f"--user={user}"])
    assert refused.value.code == 2
    assert "lower-case letters" in capsys.readouterr().err


def test_kubectl_reads_the_files(tmp_path: Path) -> None:
    cluster_secrets.main([str(tmp_path)])
    command = ["kubectl", "create", "secret", "generic", "a", f"--from-env-file={tmp_path / 'registrar.env'}"]
    made = subprocess.run([*command, "--dry-run=client", "-o", "json"], capture_output=True, check=True, text=True)
    assert set(json.loads(made.stdout)["data"]) == set(_variables((tmp_path / "registrar.env").read_text()))
