"""What ``slipway model register`` refuses before it asks any registry, and how it tells what the registry refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import EndpointConnectionError
from click.testing import CliRunner, Result
from mlflow.exceptions import MlflowException

from model_wrappers import mlflow_darknet
from model_wrappers.model_sums import SumsError
from slipway.cli import models
from slipway.cli.main import main
from tests.darknet.networks import write_handmade_model

FAILED, WRONG_USAGE, NOT_READY = 1, 2, 3


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's files, on a machine with no platform."""
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return write_handmade_model(tmp_path / "model")


def register(folder: Path, *words: str, **files: Path) -> Result:
    chosen = {kind: files.get(kind, folder / f"cells.{kind}") for kind in ("cfg", "weights", "names")}
    flags = [word for kind, path in chosen.items() for word in (f"--{kind}", str(path))]
    return CliRunner().invoke(main, ["model", "register", "cells", *flags, *words])


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
