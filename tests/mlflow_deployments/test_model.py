"""What is asked of the registry, or refused, before anything is deployed."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from slipway.mlflow_deployments import model
from slipway.mlflow_deployments.errors import as_mlflow_errors
from slipway.mlflow_deployments.model import find_model
from slipway.mlflow_deployments.predictors import Model
from slipway.mlflow_deployments.settings import DeploySettings

URI = "models:/shapes@champion"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_size_that_is_given_needs_no_registry() -> None:
    settings = DeploySettings(input="416x416")
    for uri in (URI, "models:/shapes/3", "s3://bucket/folder"):
        assert find_model(uri, settings, flavor="darknet") == Model(uri, "416x416")


@pytest.mark.parametrize(
    ("uri", "options", "said"),
    [
        (URI, {"flavor": "sklearn"}, "flavor 'sklearn': this target serves darknet"),
        ("models:/shapes", {}, "write models:/NAME@ALIAS"),
        ("models:/m-0123456789abcdef", {}, "write models:/NAME@ALIAS"),
        ("runs:/1/model", {}, "runs:/1/model: not registered"),
        ("model", {}, "not registered"),
        ("s3://bucket/folder", {}, "add -C input=WIDTHxHEIGHT"),
        (URI, {}, "MLFLOW_TRACKING_URI names one"),
    ],
)
def test_uri_that_cannot_be_deployed_is_refused(uri: str, options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(MlflowException, match=said) as refused, as_mlflow_errors("yolo"):
        find_model(uri, DeploySettings(), **options)
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    assert list(tmp_path.iterdir()) == []  # MLflow would make a database here


def test_registry_that_is_away_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with (
        pytest.raises(MlflowException, match=f"yolo: {URI}: {address} does not answer") as away,
        as_mlflow_errors("yolo"),
    ):
        find_model(URI, DeploySettings())
    assert away.value.error_code == "TEMPORARILY_UNAVAILABLE"


@pytest.mark.parametrize("darknet", [{}, "text", {"input_width": None, "input_height": 416}, {"input_width": "../"}])
def test_version_whose_file_does_not_say_its_input_is_refused(darknet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_flavors", lambda _: {"darknet": darknet})
    with pytest.raises(MlflowException, match=f"{URI}: its MLmodel file does not say the network's input") as refused:
        find_model(URI, DeploySettings())
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    assert find_model(URI, DeploySettings(input="416x416")) == Model(URI, "416x416")
