"""After everything that the other tests did: where secrets are, and where they are not."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from slipway.onebox.services.credentials import reader as reader_role
from slipway.onebox.services.credentials import registrar, render_credentials
from slipway.onebox.services.folders import PASSED_BY_HUB_USERS
from slipway.onebox.services.secrets import ensure_secrets
from slipway.onebox.settings import load_settings
from slipway.onebox.supervisor.procfs import command_line, pids
from tests.e2e.platform import Platform

PUBLIC = frozenset({"api.crt"})
MANY_FILES = ("images", "environments")  # sources and Python packages: made before any secret is read
SHORTEST = 24  # characters; every generated secret is longer, a PEM header is not looked for
MAX_FILE_BYTES = 64 << 20
FOLDER_MODE, FILE_MODE = 0o700, 0o600


def spellings(platform: Platform) -> dict[str, str]:
    """Each text that gives a secret away → whose it is: the value, in base64, quoted, as basic authentication."""
    found: dict[str, str] = {}
    for path in sorted(platform.paths.secrets.iterdir()):
        if path.name not in PUBLIC:
            lines = [line for line in path.read_text().splitlines() if not line.startswith("-----")]
            found |= {line: path.name for line in lines if len(line) >= SHORTEST}
    secrets, settings = ensure_secrets(platform.paths.secrets), load_settings(platform.paths.settings)
    for role in (registrar(secrets), reader_role(secrets)):
        keys = render_credentials(settings, role)
        for user, password in (
            ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
            ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        ):
            found[f"{keys[user]}:{keys[password]}"] = password
    return {
        text: name
        for value, name in found.items()
        for text in (value, base64.b64encode(value.encode()).decode().rstrip("="), quote(value))
    }


@pytest.fixture(scope="module")
def wanted(platform: Platform) -> dict[bytes, str]:
    texts = spellings(platform)
    assert {"api-token", "mlflow-admin-password", "s3-registrar-key", "s3-reader-key", "api.key"} <= set(texts.values())
    return {text.encode(): name for text, name in texts.items()}


def given_away(data: bytes, wanted: dict[bytes, str]) -> list[str]:
    """Names of the secrets that ``data`` holds; never their values."""
    return sorted({name for text, name in wanted.items() if text in data})


def files(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        inside = path.relative_to(root).parts
        if inside[0] not in MANY_FILES and path.is_file() and not path.is_symlink():
            yield path


def is_log(path: Path) -> bool:
    return "log" in path.suffix or "logs" in path.parts


def test_search_finds_a_secret(platform: Platform, wanted: dict[bytes, str]) -> None:
    token = ensure_secrets(platform.paths.secrets).api_token
    assert given_away(f"--token={token}".encode(), wanted) == ["api-token"]
    assert given_away(platform.paths.mlflow_env.read_bytes(), wanted) == ["mlflow-admin-password", "s3-registrar-key"]


def test_secrets_are_in_no_command_line(platform: Platform, wanted: dict[bytes, str]) -> None:
    before = platform.processes()
    lines = {pid: command_line(pid) for pid in pids()}
    stayed = before & platform.processes()  # others came or went while the lines were read
    assert stayed
    assert stayed <= {pid for pid, line in lines.items() if line}
    told = {pid: names for pid, line in lines.items() if (names := given_away(line.encode(), wanted))}
    assert told == {}


def test_secrets_are_in_no_log(platform: Platform, wanted: dict[bytes, str]) -> None:
    logs = [path for path in files(platform.home) if is_log(path)]
    assert {"api.log", "controller.log", "mlflow.log", "s3-proxy.log", "access-0.log"} <= {path.name for path in logs}
    assert any(path.is_relative_to(platform.paths.pods) for path in logs)
    assert {path: names for path in logs if (names := given_away(path.read_bytes(), wanted))} == {}


def test_secrets_are_in_no_output_of_kubectl(platform: Platform, wanted: dict[bytes, str]) -> None:
    kinds = platform.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    assert "secrets" in kinds
    shown = {
        kind: platform.kubectl("get", kind, "-A", "-o", "yaml", "--show-managed-fields")
        for kind in kinds
        if kind != "secrets"
    }
    shown |= {
        f"describe {kind}": platform.kubectl("describe", kind, "-A")
        for kind in ("pods", "secrets", "sdep", "deployments")
    }
    for pod in json.loads(platform.kubectl("get", "pods", "-A", "-o", "json"))["items"]:
        meta = pod["metadata"]
        words = ("logs", meta["name"], "-n", meta["namespace"], "--all-containers")
        shown[f"logs {meta['name']}"] = platform.kubectl(*words)
    assert {what: names for what, text in shown.items() if (names := given_away(text.encode(), wanted))} == {}


def test_secrets_are_in_no_output_of_slipway(platform: Platform, wanted: dict[bytes, str]) -> None:
    commands = (
        ("status",),
        ("status", "--json"),
        ("get", "pods", "-A", "-o", "yaml"),
        ("image", "list"),
        ("model", "list"),
    )
    shown = {words: platform.slipway(*words) for words in commands}
    assert {words: names for words, text in shown.items() if (names := given_away(text.encode(), wanted))} == {}


def test_secrets_are_readable_by_their_owner_only(platform: Platform, wanted: dict[bytes, str]) -> None:
    paths = platform.paths
    assert {mode(path) for path in (paths.secrets, paths.sockets)} == {FOLDER_MODE}
    assert mode(paths.home) == (PASSED_BY_HUB_USERS if load_settings(paths.settings).hub_first_uid else FOLDER_MODE)
    private = [path for path in paths.secrets.iterdir() if path.name not in PUBLIC]
    assert {mode(path) for path in (*private, paths.kubeconfig, paths.mlflow_env)} == {FILE_MODE}
    holders = {
        path: names
        for path in files(paths.home)
        if path.stat().st_size < MAX_FILE_BYTES and (names := given_away(path.read_bytes(), wanted))
    }
    assert len(holders) > len(private)
    assert {path: (oct(mode(path)), names) for path, names in holders.items() if mode(path) & 0o077} == {}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
