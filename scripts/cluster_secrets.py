"""The secrets of a cluster, drawn once into files that `kubectl create secret --from-env-file` reads.

    python -m scripts.cluster_secrets build/secrets              # everything that docs/kubernetes.md makes Secrets of
    python -m scripts.cluster_secrets build/secrets --user ada   # one user of the hub
    python -m scripts.cluster_secrets build/secrets --team blue  # one team

What is there stays as it is, so that a second run adds only what is missing. Keep the folder where you keep secrets, or
delete it: the cluster has them all.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from slipway.onebox.services.credentials import MLFLOW_ADMIN, MLFLOW_READER, S3_REGION
from slipway.onebox.services.hub.names import USER_PATTERN, namespace_of
from slipway.onebox.services.secrets import write_private
from slipway.onebox.services.swift import BUCKET, TRAINING_BUCKET
from slipway.onebox.services.teams import OF_HUB, mlflow_account

BACKUP_BUCKET = "slipway-backups"
S3_ADDRESS = "http://seaweedfs-s3.seaweedfs:8333"
MLFLOW_ADDRESS = "http://mlflow.slipway-system:5000"
FORWARDED = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:8333",
    "MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:8333",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
}
"""Where somebody outside the cluster meets both, by `kubectl port-forward`."""
KEY_BYTES = 32
SCIENTIST = "scientist.env"
READ, WRITE = ("Read", "List"), ("Read", "List", "Write", "Tagging")
ROLES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "administrator": {},
    "registrar": {BUCKET: WRITE, TRAINING_BUCKET: WRITE},
    "reader": {BUCKET: READ},
    "scientist": {BUCKET: WRITE, TRAINING_BUCKET: WRITE},
    "backup": {BACKUP_BUCKET: WRITE},
}
"""Who → what in which bucket, in SeaweedFS' words; nothing named: everything. As on one machine, and the backups."""
TEAM_PATTERN = rf"(?!{OF_HUB})[a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?"
Draw = Callable[[], str]
Files = dict[str, str]


def platform_files(draw: Draw) -> Files:
    """File → text: the store's identities, and one file for each Secret, named after it."""
    keys = {role: (f"slipway-{role}", draw()) for role in ROLES}
    reader_password, admin_password = draw(), draw()
    mlflow = {"MLFLOW_TRACKING_URI": MLFLOW_ADDRESS}
    reader = {"MLFLOW_TRACKING_USERNAME": MLFLOW_READER, "MLFLOW_TRACKING_PASSWORD": reader_password}
    admin = {"MLFLOW_TRACKING_USERNAME": MLFLOW_ADMIN, "MLFLOW_TRACKING_PASSWORD": admin_password}
    return {
        "seaweedfs-s3.json": render_identities(keys),
        "slipway-model-storage.env": _env({**_s3(*keys["reader"]), **mlflow, **reader}),
        "mlflow-admin.env": _env({"password": admin_password, "flask-secret-key": draw()}),
        "mlflow-backup-storage.env": _env(_s3(*keys["backup"])),
        "grafana-admin.env": _env({"admin-user": "admin", "admin-password": draw()}),
        SCIENTIST: _env({**_s3(*keys["scientist"]), "MLFLOW_S3_ENDPOINT_URL": S3_ADDRESS, **mlflow}),
        "registrar.env": _env({**_s3(*keys["registrar"]), **admin, **FORWARDED}),
        "mlflow.netrc": f"machine 127.0.0.1 login {MLFLOW_ADMIN} password {admin_password}\n",
    }


def account_files(name: str, scientist: str, draw: Draw) -> Files:
    """A hub user's or a team's Secret, and the request for the account ``name`` at MLflow. ``scientist``: that file's text."""
    password = draw()
    keys = {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": password}
    return {
        f"{name}.env": scientist + _env(keys),
        f"{name}.json": json.dumps({"username": name, "password": password}) + "\n",
    }


def render_identities(keys: Mapping[str, tuple[str, str]]) -> str:
    """SeaweedFS' own form: github.com/seaweedfs/seaweedfs/wiki/Amazon-S3-API, "S3 credentials"."""
    identities = [
        {
            "name": role,
            "credentials": [{"accessKey": access, "secretKey": secret}],
            "actions": [f"{action}:{bucket}" for bucket, actions in ROLES[role].items() for action in actions]
            or ["Admin"],
        }
        for role, (access, secret) in keys.items()
    ]
    return json.dumps({"identities": identities}, indent=1) + "\n"


def _s3(access: str, secret: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": access,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_ENDPOINT_URL": S3_ADDRESS,
        "AWS_DEFAULT_REGION": S3_REGION,
    }


def _env(variables: Mapping[str, str]) -> str:
    """Lines as kubectl reads them: no quotes, no escapes."""
    return "".join(f"{name}={value}\n" for name, value in variables.items())


def add(folder: Path, files: Files) -> list[Path]:
    """Write what is not there yet, for the owner only; what was written."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = [folder / name for name in files if not (folder / name).exists()]
    for path in new:
        write_private(path, files[path.name])
    return new


def main(arguments: list[str] | None = None) -> int:
    """Draw the secrets of a cluster, of one user of its hub or of one team into FOLDER."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.cluster_secrets",
        description=main.__doc__,
        epilog="example: python -m scripts.cluster_secrets build/secrets --user ada",
    )
    parser.add_argument("folder", type=Path)
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--user", help="a name at the hub")
    whose.add_argument("--team", help="a name that `slipway tenant add` was given")
    given = parser.parse_args(arguments)
    if given.user is not None and not re.match(USER_PATTERN, given.user):
        parser.error(f"--user {given.user!r}: lower-case letters, digits and single hyphens, beginning with a letter")
    if given.team is not None and not re.fullmatch(TEAM_PATTERN, given.team):
        parser.error(f"--team {given.team!r}: the name of a namespace that is no hub user's")
    account = namespace_of(given.user) if given.user else mlflow_account(given.team) if given.team else ""
    written = _account(given.folder, account) if account else _platform(given.folder)
    print(*([f"{path}: written" for path in written] or ["nothing was missing"]), sep="\n")
    return 0


def _platform(folder: Path) -> list[Path]:
    """All of them or none, because they must agree on their keys."""
    files = platform_files(_draw)
    missing = [name for name in files if not (folder / name).exists()]
    if missing and len(missing) < len(files):
        sys.exit(f"{folder}: {', '.join(missing)} missing beside others: bring them back, or give a new folder")
    return add(folder, files)


def _account(folder: Path, name: str) -> list[Path]:
    try:
        scientist = (folder / SCIENTIST).read_text()
    except FileNotFoundError:
        sys.exit(f"{folder / SCIENTIST} is missing: give the folder that holds the platform's own secrets")
    return add(folder, account_files(name, scientist, _draw))


def _draw() -> str:
    return secrets.token_urlsafe(KEY_BYTES)


if __name__ == "__main__":
    sys.exit(main())
