from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from slipway.kube.kubeconfig import load_access
from slipway.onebox.api.listener import ensure_certificate
from slipway.onebox.paths import Paths
from slipway.onebox.services.credentials import (
    load_model_credentials,
    reader,
    registrar,
    render_credentials,
    render_env_file,
    write_access_files,
)
from slipway.onebox.services.platform_objects import NAMESPACES, objects
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.settings import Settings, save_settings

MODEL_STORAGE_KEYS = {  # docs/architecture.md, "Credentials for models"
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
}


def test_secrets_are_made_once_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    first = ensure_secrets(folder)
    assert ensure_secrets(folder) == first
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    values = [path.read_text() for path in folder.iterdir()]
    assert len(set(values)) == len(values)
    assert all(len(value) >= 40 for value in values)


def test_loosened_modes_are_put_right(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    ensure_secrets(folder)
    folder.chmod(0o755)
    (folder / "api-token").chmod(0o644)
    ensure_secrets(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "api-token").stat().st_mode & 0o777 == 0o600


def test_secrets_do_not_print(tmp_path: Path) -> None:
    secrets = ensure_secrets(tmp_path / "secrets")
    assert secrets.api_token not in repr(secrets)
    assert repr(secrets) == "Secrets()"


def test_roles_share_no_secret(tmp_path: Path) -> None:
    secrets = ensure_secrets(tmp_path / "secrets")
    mine, theirs = registrar(secrets), reader(secrets)
    assert {mine.mlflow_password, mine.s3_key}.isdisjoint({theirs.mlflow_password, theirs.s3_key})


def test_credentials_have_every_key_that_pods_are_promised(tmp_path: Path) -> None:
    secrets = ensure_secrets(tmp_path / "secrets")
    credentials = render_credentials(Settings(s3_port=9000, mlflow_port=9001), reader(secrets))
    assert credentials.keys() >= MODEL_STORAGE_KEYS
    assert credentials["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9000"
    assert credentials["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:9001"


def test_model_credentials_follow_the_remembered_ports(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    save_settings(paths.settings, Settings(mlflow_port=5999))
    assert load_model_credentials(paths)["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5999"


def test_env_file_survives_a_shell(tmp_path: Path) -> None:
    variables = {"A": "plain", "B": 'it\'s $HOME `x` "y"'}
    file = tmp_path / "mlflow.env"
    file.write_text(render_env_file(variables))
    shell = f'. {file}; printf \'%s\\n%s\' "$A" "$B"'
    assert subprocess.check_output(["sh", "-c", shell], text=True) == "\n".join(variables.values())


def test_kubeconfig_is_one_that_our_client_accepts(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    secrets = ensure_secrets(paths.secrets)
    certificate, _ = ensure_certificate(paths.secrets)
    write_access_files(paths, Settings(api_port=8999), secrets)
    access = load_access(paths.kubeconfig)
    assert (access.server, access.token) == ("https://127.0.0.1:8999", secrets.api_token)
    assert access.certificate_authority == certificate.read_text()
    assert paths.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert paths.mlflow_env.stat().st_mode & 0o777 == 0o600


def test_env_file_has_the_gateway_of_the_port_that_was_chosen(tmp_path: Path) -> None:
    """docs/data-scientist.md, "Without the hub": this file is all that the notebooks' shell reads."""
    paths = Paths(tmp_path)
    secrets = ensure_secrets(paths.secrets)
    write_access_files(paths, Settings(gateway_port=9090), secrets)
    lines = paths.mlflow_env.read_text().splitlines()
    assert "SLIPWAY_GATEWAY=http://127.0.0.1:9090" in lines
    assert [line for line in lines if line.startswith("MLFLOW_TRACKING_URI=")]


def test_first_objects_are_namespaces_then_what_lives_in_them() -> None:
    gateway = {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g"}}
    made = list(objects({"AWS_ACCESS_KEY_ID": "x"}, [gateway]))
    assert [item["metadata"]["name"] for item in made] == [*NAMESPACES, "slipway-model-storage", "g"]
    assert made[-2]["metadata"]["namespace"] == "slipway-system"


@pytest.mark.parametrize("name", NAMESPACES)
def test_namespace_object_is_yaml_that_round_trips(name: str) -> None:
    found = next(item for item in objects({}, []) if item["metadata"]["name"] == name)
    assert yaml.safe_load(yaml.safe_dump(found)) == found
