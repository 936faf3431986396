"""What a team trains with, at the real MLflow and S3: by the command here, by the printed commands as on a cluster."""

from __future__ import annotations

import base64
import shlex
import subprocess
from pathlib import Path

import requests

from scripts import cluster_secrets
from slipway.cli.tenant_training import FILES, USERS, deletion, to_give
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.services.swift import TRAINING_BUCKET
from slipway.onebox.settings import HOST, load_settings
from tests.e2e.platform import Platform
from tests.e2e.s3 import client

TEAM = "blue-of-accounts"
MODEL, CHECKPOINT = f"shapes-{TEAM}", f"{TEAM}/checkpoint.pt"


def mlflow(platform: Platform) -> str:
    return f"http://{HOST}:{load_settings(platform.paths.settings).mlflow_port}"


def create(platform: Platform, login: tuple[str, str], model: str) -> int:
    """The HTTP status."""
    url = f"{mlflow(platform)}/api/2.0/mlflow/registered-models/create"
    return requests.post(url, json={"name": model}, auth=login, timeout=30).status_code


def delete(platform: Platform, login: tuple[str, str], model: str) -> int:
    url = f"{mlflow(platform)}/api/2.0/mlflow/registered-models/delete"
    return requests.delete(url, json={"name": model}, auth=login, timeout=30).status_code


def search(platform: Platform, login: tuple[str, str]) -> int:
    return requests.get(
        f"{mlflow(platform)}/api/2.0/mlflow/registered-models/search", auth=login, timeout=30
    ).status_code


def test_team_registers_models_of_its_own_and_writes_checkpoints_until_it_is_removed(platform: Platform) -> None:
    said = platform.slipway("tenant", "add", TEAM)
    assert f"MLflow account team-{TEAM} may log in" in said
    data = platform.get("secret", "slipway-training", TEAM)["data"]
    keys = {name: base64.b64decode(value).decode() for name, value in data.items()}
    assert not [
        name for name, value in keys.items() if name.endswith(("PASSWORD", "SECRET_ACCESS_KEY")) and value in said
    ]
    team = (keys["MLFLOW_TRACKING_USERNAME"], keys["MLFLOW_TRACKING_PASSWORD"])
    admin = ("admin", ensure_secrets(platform.paths.secrets).mlflow_admin_password)
    assert (create(platform, team, MODEL), create(platform, admin, f"{MODEL}-of-others")) == (200, 200)
    assert delete(platform, team, f"{MODEL}-of-others") == 403
    s3 = client(keys)
    s3.put_object(Bucket=TRAINING_BUCKET, Key=CHECKPOINT, Body=b"weights")
    s3.delete_object(Bucket=TRAINING_BUCKET, Key=CHECKPOINT)
    s3.close()
    assert "secret/slipway-training unchanged" in platform.slipway("tenant", "add", TEAM)
    assert f"MLflow account team-{TEAM} deleted" in platform.slipway("tenant", "remove", TEAM, "--yes")
    assert create(platform, team, f"{MODEL}-late") == 401
    assert [delete(platform, admin, name) for name in (MODEL, f"{MODEL}-of-others")] == [200, 200]


def test_printed_commands_make_an_account_that_may_log_in_and_take_it_away(platform: Platform, tmp_path: Path) -> None:
    files = tmp_path / FILES
    cluster_secrets.main([str(files)])
    drawn, request, _ = (shlex.split(line) for line in to_give(TEAM) if line.startswith("  "))
    cluster_secrets.main([str(files), *drawn[4:]])
    password = ensure_secrets(platform.paths.secrets).mlflow_admin_password
    (files / "mlflow.netrc").write_text(f"machine 127.0.0.1 login admin password {password}\n")
    lines = (files / f"team-{TEAM}.env").read_text().splitlines()
    keys = dict(line.split("=", 1) for line in lines)
    team = (keys["MLFLOW_TRACKING_USERNAME"], keys["MLFLOW_TRACKING_PASSWORD"])
    there = USERS.partition("/api/")[0]
    for argv, status in ((request, 200), (shlex.split(deletion(f"team-{TEAM}")), 401)):
        words = [word.replace(there, mlflow(platform)) for word in ("curl", "--fail", "--silent", *argv[1:])]
        subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, timeout=60)
        assert search(platform, team) == status
