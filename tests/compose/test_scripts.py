"""The shell scripts of compose.yaml: secrets that are drawn once, handed on, and a model that is registered once."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from slipway.cli import models
from tests.compose.conftest import draw, read
from tests.compose.files import compose
from tests.data import REPOSITORY

FOLDER = REPOSITORY / "compose"


def test_secrets_are_drawn_once_and_nobody_else_enters_their_folder(tmp_path: Path) -> None:
    draw(tmp_path / "a")
    folder = tmp_path / "a" / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == compose()["secrets"].keys()
    before = {path.name: path.read_text() for path in folder.iterdir()}
    assert all(path.stat().st_mode & stat.S_IROTH for path in folder.iterdir()), "a container's user cannot read it"
    assert "there already" in draw(tmp_path / "a")
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    draw(tmp_path / "b")
    other = {path.name: path.read_text() for path in (tmp_path / "b" / "secrets").iterdir()}
    assert all(other[name] != text for name, text in before.items())


def test_what_was_interrupted_is_drawn_anew(tmp_path: Path) -> None:
    (tmp_path / "a" / "secrets.new").mkdir(parents=True)
    (tmp_path / "a" / "secrets.new" / "half").write_text("x")
    draw(tmp_path / "a")
    assert not (tmp_path / "a" / "secrets" / "half").exists()


def test_who_reads_and_who_writes_have_the_keys_that_s3_knows(drawn: dict[str, dict[str, str]], tmp_path: Path) -> None:
    identities = json.loads((tmp_path / "compose" / "secrets" / "s3.json").read_text())["identities"]
    keys = {
        (item["accessKey"], item["secretKey"]): each["actions"] for each in identities for item in each["credentials"]
    }
    may = {
        name: keys[drawn[name]["AWS_ACCESS_KEY_ID"], drawn[name]["AWS_SECRET_ACCESS_KEY"]]
        for name in ("mlflow", "model-storage", "registrar")
    }
    assert "Admin" in may["registrar"]
    assert may["mlflow"] == may["model-storage"] == ["Read:slipway-models", "List:slipway-models"]
    assert drawn["mlflow"]["SLIPWAY_READER_PASSWORD"] == drawn["model-storage"]["MLFLOW_TRACKING_PASSWORD"]
    assert drawn["mlflow"]["MLFLOW_AUTH_ADMIN_PASSWORD"] == drawn["registrar"]["MLFLOW_TRACKING_PASSWORD"]
    database = (tmp_path / "compose" / "secrets" / "postgres-password").read_text()
    assert drawn["mlflow"]["PGPASSWORD"] == database
    assert len(database) == 48


def test_drawn_secrets_are_never_committed() -> None:
    paths = ["compose/secrets/mlflow", "compose/secrets.new/mlflow"]
    done = subprocess.run(
        ["git", "check-ignore", *paths], cwd=REPOSITORY, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stdout.split() == paths


def with_secret(secrets: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(FOLDER / "with-secret"), *words],
        env={"PATH": os.environ["PATH"], "SECRETS": str(secrets)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_a_program_gets_the_variables_of_its_secret_and_its_words_as_they_are(tmp_path: Path) -> None:
    draw(tmp_path / "compose")
    program = 'echo "$AWS_ACCESS_KEY_ID $MLFLOW_TRACKING_USERNAME" "$@"'
    done = with_secret(tmp_path / "compose" / "secrets", "registrar", "sh", "-c", program, "sh", "a  b", "$HOME")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "writer admin a  b $HOME\n"
    assert read(tmp_path / "compose")["registrar"]["MLFLOW_TRACKING_PASSWORD"] not in done.stdout


def test_a_secret_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = with_secret(tmp_path, "mlflow", "true")
    assert done.returncode == 1
    assert done.stderr == f"with-secret: {tmp_path}/mlflow cannot be read: compose/make-secrets draws it\n"


def registry(monkeypatch: pytest.MonkeyPatch, versions: dict[int, dict[str, str]]) -> None:
    """One that has the model ``shapes``: version → tags."""
    found = [
        SimpleNamespace(version=str(number), tags=tags, source=f"s3://slipway-models/{number}")
        for number, tags in versions.items()
    ]
    aliases = {"champion": "1"} if versions else {}
    model = SimpleNamespace(name="shapes", aliases=aliases)
    client = SimpleNamespace(
        search_registered_models=lambda **_: Page([model]),
        search_model_versions=lambda **_: Page(found),
        get_registered_model=lambda _: model,
    )
    monkeypatch.setattr(models, "_client", lambda: client)


class Page(list[Any]):
    """The only one."""

    token = None


def said_by_the_command(*words: str) -> str:
    return CliRunner().invoke(models.model_command, words).output


def register(folder: Path, *, known: str, shown: str = "") -> subprocess.CompletedProcess[str]:
    """``python`` is played: it says what the registry has, and which words it got."""
    (folder / "known").write_text(known)
    (folder / "shown").write_text(shown)
    played = folder / "python"
    played.write_text(f"""#!/bin/sh
case "$4" in list) cat {folder}/known;; show) cat {folder}/shown;; *) echo "$@";; esac
""")
    played.chmod(0o755)
    return subprocess.run(
        ["sh", str(FOLDER / "register")],
        env={"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_a_model_is_registered_where_there_is_none(tmp_path: Path) -> None:
    done = register(tmp_path, known="[]")
    assert done.returncode == 0, done.stderr
    assert "model register shapes" in done.stdout
    for name in ("shapes.cfg", "shapes.names", "v1/shapes.weights"):
        assert f"/models/shapes/{name}" in done.stdout
        assert (REPOSITORY / "models" / "shapes" / name).exists()


DIGEST = {"slipway.digest": "sha256:" + "5a" * 32}


@pytest.mark.parametrize(
    ("versions", "status", "says"),
    [
        ({}, 0, "model register shapes"),  # cut short
        ({1: {"a": "b", **DIGEST}}, 0, "shapes: registered already"),
        ({1: DIGEST, 2: DIGEST}, 0, "shapes: registered already"),
        ({1: {}}, 1, "version 1 of shapes has no digest"),
        ({1: {}, 2: DIGEST}, 1, "version 1 of shapes has no digest"),
        ({2: DIGEST, 10: DIGEST}, 0, "shapes: has versions, but no version 1"),
    ],
)
def test_a_model_is_registered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, versions: dict[int, dict[str, str]], status: int, says: str
) -> None:
    registry(monkeypatch, versions)
    known, shown = said_by_the_command("list", "--json"), said_by_the_command("show", "shapes", "--json")
    assert json.loads(known)[0]["versions"] == sorted(versions)
    done = register(tmp_path, known=known, shown=shown)
    assert done.returncode == status
    assert says in done.stdout + done.stderr
    assert ("model register" in done.stdout) is (not versions)


def test_a_registry_that_does_not_answer_ends_the_step(tmp_path: Path) -> None:
    played = tmp_path / "python"
    played.write_text("#!/bin/sh\nexit 3\n")
    played.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", str(FOLDER / "register")], env=environment, timeout=20, check=False)
    assert done.returncode == 3
