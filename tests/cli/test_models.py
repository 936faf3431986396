"""What ``slipway model register`` refuses before it asks any registry, and how it tells what the registry refuses."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import EndpointConnectionError
from click.testing import CliRunner, Result
from mlflow.exceptions import MlflowException

from model_wrappers import mlflow_darknet
from model_wrappers.model_sums import SumsError
from slipway.cli import models
from slipway.cli.main import main
from tests.controller.conftest import Platform
from tests.darknet.networks import write_handmade_model

FAILED, WRONG_USAGE, NOT_READY = 1, 2, 3


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's files, on a machine with no platform."""
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return write_handmade_model(tmp_path / "model")


def register(folder: Path, *words: str, name: str = "cells", **files: Path) -> Result:
    chosen = {kind: files.get(kind, folder / f"cells.{kind}") for kind in ("cfg", "weights", "names")}
    flags = [word for kind, path in chosen.items() for word in (f"--{kind}", str(path))]
    return CliRunner().invoke(main, ["model", "register", name, *flags, *words])


def test_good_files_reach_for_the_registry(folder: Path) -> None:
    assert register(folder).exit_code == NOT_READY


def test_two_files_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    weights = tmp_path / "cells.cfg"
    shutil.copyfile(folder / "cells.weights", weights)
    result = register(folder, weights=weights)
    assert result.exit_code == FAILED
    cfg = folder / "cells.cfg"
    assert f"Error: {weights}: would be data/cells.cfg of the model, as {cfg} would: rename one\n" == result.stderr


@pytest.mark.parametrize("name", ["model.onnx", "engines.json", "SHA256SUMS", "model.int8.onnx"])
def test_reserved_name_is_refused(folder: Path, name: str) -> None:
    names = shutil.copyfile(folder / "cells.names", folder / name)
    result = register(folder, names=names)
    assert result.exit_code == FAILED
    assert result.stderr.startswith(f"Error: {names}: data/{name.casefold()} of a model is the ")
    assert result.stderr.endswith(": rename the file\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tag", "noequals"), "'noequals': write KEY=VALUE"),
        (("--int8", ".01"), "--labelled names their folder"),
        (("--int8", "2"), "2.0 is not in the range 0<=x<=1"),
        (("--photo", "nowhere.jpg"), "nowhere.jpg"),
    ],
)
def test_wrong_usage_says_what_is_right(folder: Path, words: tuple[str, ...], said: str) -> None:
    result = register(folder, *words)
    assert (result.exit_code, said in result.stderr) == (WRONG_USAGE, True), result.stderr


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            S3UploadFailedError("Failed to upload a to b: AccessDenied"),
            "cells: S3: Failed to upload a to b: AccessDenied",
        ),
        (EndpointConnectionError(endpoint_url="http://s3"), "cells: S3: Could not connect to the endpoint URL"),
        (MlflowException("no such experiment"), "cells: no such experiment"),
        (
            mlflow_darknet.RegistrationError("models:/cells/3 is in MLflow without"),
            "models:/cells/3 is in MLflow without",
        ),
        (SumsError(Path("SHA256SUMS"), "line 1: is none"), "SHA256SUMS: line 1: is none"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_registry_or_s3_refuse_is_one_line(
    folder: Path, error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise error

    monkeypatch.setattr(models, "_client", lambda: None)
    monkeypatch.setattr(mlflow_darknet, "log_model", refuse)
    result = register(folder)
    assert result.exit_code == FAILED
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {told}")


class Client:
    """MLflow's, which knows the version that was just logged."""

    @staticmethod
    def get_model_version(name: str, version: str) -> SimpleNamespace:
        return SimpleNamespace(tags={mlflow_darknet.DIGEST_TAG: f"sha256 of {name} {version}"})


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was handed to the flavour, which registers version 2 of shapes."""
    calls: list[dict[str, Any]] = []

    def log_model(**given: Any) -> SimpleNamespace:
        calls.append(given)
        return SimpleNamespace(registered_model_version=2)

    monkeypatch.setattr(models, "_client", Client)
    monkeypatch.setattr(mlflow_darknet, "log_model", log_model)
    return calls


async def test_alias_of_a_registration_is_recorded_with_who_set_it(
    folder: Path, logged: list[dict[str, Any]], platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", platform.address.uri)
    monkeypatch.setenv("JUPYTERHUB_USER", "ann")
    result = await asyncio.to_thread(register, folder, "--alias", "champion", "--alias", "next", name="shapes")
    assert result.stdout.splitlines()[-1] == "registered models:/shapes/2  sha256 of shapes 2  @champion  @next"
    assert platform.registry.aliases == {"champion": "2", "next": "2"}
    records = [json.loads(platform.registry.tags[f"slipway.alias.{alias}"]) for alias in ("champion", "next")]
    assert [(one["version"], one["before"], one["who"], one["why"]) for one in records] == [
        ("2", "1", "ann", "registered"),
        ("2", None, "ann", "registered"),
    ]
    assert "aliases" not in logged[0]


async def test_alias_that_is_not_moved_leaves_the_version_and_says_what_moves_it(
    folder: Path, logged: list[dict[str, Any]], platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", platform.address.uri)
    platform.registry.is_away = True
    result = await asyncio.to_thread(register, folder, "--alias", "champion", name="shapes")
    assert (result.exit_code, len(logged)) == (NOT_READY, 1)
    assert result.stderr.startswith("Error: models:/shapes/2 is registered, but alias 'champion' was not moved to it (")
    assert result.stderr.endswith("run `slipway model promote shapes 2 --alias champion`\n")


class Page(list[Any]):
    """The only one."""

    token = None


def test_list_shows_aliases_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restored database answers in another order than the one before."""
    model = SimpleNamespace(name="shapes", aliases={"next": "2", "champion": "1"})
    versions = [SimpleNamespace(version="1"), SimpleNamespace(version="2")]
    client = SimpleNamespace(
        search_registered_models=lambda **_: Page([model]), search_model_versions=lambda **_: Page(versions)
    )
    monkeypatch.setattr(models, "_client", lambda: client)
    listed = CliRunner().invoke(main, ["model", "list"])
    assert listed.stdout.splitlines()[1].split() == ["shapes", "1,2", "champion→1,", "next→2"]


def test_alias_that_cannot_be_one_is_refused_before_anything_is_registered(
    folder: Path, logged: list[dict[str, Any]]
) -> None:
    result = register(folder, "--alias", "v1")
    assert (result.exit_code, logged) == (WRONG_USAGE, [])
    assert "alias" in result.stderr
