"""The drift reference as a file of a registered model: by save_model, log_model and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from model_wrappers import darknet, mlflow_darknet
from model_wrappers.darknet.proof import Proof, prove
from model_wrappers.drift import REFERENCE_NAME, DriftReferenceError, Reference, load_reference, photos_in
from model_wrappers.model_sums import sums_of_folder, verify_listed
from slipway.cli.main import main
from tests.darknet.networks import CELL, write_handmade_model

PHOTOS = 50
FAILED, NOT_READY = 1, 3


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_handmade_model(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every second one has a red cell, which the model knows."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(PHOTOS):
        pixels = np.zeros((2 * CELL, 2 * CELL, 3), np.uint8)
        pixels[:CELL, :CELL, 0] = 255 * (number % 2)
        assert cv2.imwrite(str(folder / f"{number:02}.png"), pixels[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def proof(sources: Path) -> Proof:
    return prove(*files_of(sources).values(), threads=1, engines=["onnxruntime"])


def files_of(folder: Path) -> dict[str, Path]:
    return {kind: folder / f"cells.{kind}" for kind in ("cfg", "weights", "names")}


def test_saved_model_has_the_reference_among_its_sums(
    sources: Path, proof: Proof, photos: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model"
    mlflow_darknet.save_model(path, **files_of(sources), proof=proof, drift_photos=photos_in(photos))
    verify_listed(path)
    assert f"  {REFERENCE_NAME}\n" in (path / "SHA256SUMS").read_text() == sums_of_folder(path)
    assert darknet.Detector(path).names
    reference = load_reference(path)
    assert [len(one.detections) for one in reference.photos] == [0, 1] * (PHOTOS // 2)
    assert [one.brightness for one in reference.photos[:2]] == [0.0, pytest.approx(255 * 0.299 / 4, abs=1.5)]


def test_too_few_photos_leave_no_model(sources: Path, proof: Proof, photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "model"
    with pytest.raises(DriftReferenceError, match="at least 50"):
        mlflow_darknet.save_model(path, **files_of(sources), proof=proof, drift_photos=photos_in(photos)[:49])
    assert not path.exists()


def test_log_model_gives_the_reference_made_before_mlflow_knows_of_anything(
    sources: Path, proof: Proof, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[dict[str, Any]] = []
    monkeypatch.setattr("mlflow.models.Model.log", lambda **given: logged.append(given))
    monkeypatch.setattr("model_wrappers.darknet.proof.prove", lambda *_, **__: proof)
    with pytest.raises(DriftReferenceError, match="1 photos"):
        mlflow_darknet.log_model(**files_of(sources), drift_photos=photos_in(photos)[:1])
    assert logged == []
    mlflow_darknet.log_model(**files_of(sources), drift_photos=photos_in(photos))
    assert isinstance(logged[0]["drift_reference"], Reference)
    mlflow_darknet.log_model(**files_of(sources))
    assert logged[1]["drift_reference"] is None


def test_register_refuses_a_folder_with_too_few_photos_before_it_asks_the_registry(
    sources: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    words = ["model", "register", "cells"]
    words += [word for kind, path in files_of(sources).items() for word in (f"--{kind}", str(path))]
    empty = tmp_path / "empty"
    empty.mkdir()
    refused = CliRunner().invoke(main, [*words, "--drift-reference", str(empty)])
    assert refused.exit_code == FAILED
    assert refused.stderr.startswith(f"Error: {empty}: 0 photos for the drift reference: at least 50")
    assert CliRunner().invoke(main, [*words, "--drift-reference", str(photos)]).exit_code == NOT_READY
