from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from model_wrappers.darknet.errors import ModelFolderError
from model_wrappers.darknet.folder import MAX_MLMODEL_BYTES, ModelFolder, load_model_folder
from tests.darknet.networks import write_handmade_model

FLAVOUR = "flavors:\n  python_function: {loader_module: x}\n  darknet: {cfg: data/cells.cfg, weights: data/cells.weights, names: data/cells.names"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_handmade_model(tmp_path / "model")


@pytest.fixture
def mlflow_folder(tmp_path: Path) -> Path:
    write_handmade_model(tmp_path / "mlflow" / "data")
    (tmp_path / "mlflow" / "MLmodel").write_text(FLAVOUR + "}\n")
    return tmp_path / "mlflow"


def test_plain_folder_is_found(folder: Path) -> None:
    expected = ModelFolder(folder / "cells.cfg", folder / "cells.weights", folder / "cells.names", None)
    assert load_model_folder(folder) == expected
    (folder / "model.onnx").write_bytes(b"x")
    assert load_model_folder(folder) == replace(expected, onnx_path=folder / "model.onnx")
    for name in ("engines.json", "model.int8.onnx"):
        (folder / name).write_bytes(b"x")
    found = load_model_folder(folder)
    assert (found.engines_path, found.int8_path) == (folder / "engines.json", folder / "model.int8.onnx")


def test_mlflow_folder_is_found_by_its_flavour(mlflow_folder: Path) -> None:
    data = mlflow_folder / "data"
    expected = ModelFolder(data / "cells.cfg", data / "cells.weights", data / "cells.names", None)
    assert load_model_folder(mlflow_folder) == expected
    (data / "m.onnx").write_bytes(b"x")
    (mlflow_folder / "MLmodel").write_text(FLAVOUR + ", onnx: data/m.onnx}\n")
    assert load_model_folder(mlflow_folder) == replace(expected, onnx_path=data / "m.onnx")
    (mlflow_folder / "MLmodel").write_text(FLAVOUR + ", int8: data/m.onnx}\n")
    assert load_model_folder(mlflow_folder) == replace(expected, int8_path=data / "m.onnx")


def test_links_into_a_cache_are_followed(folder: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in folder.iterdir():
        (linked / file.name).symlink_to(file)
    assert load_model_folder(linked).cfg_path == linked / "cells.cfg"


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"none: is no folder"):
        load_model_folder(tmp_path / "none")


@pytest.mark.parametrize("suffix", [".cfg", ".weights", ".names"])
def test_missing_and_doubled_files_are_named(folder: Path, suffix: str) -> None:
    shutil.copy(folder / f"cells{suffix}", folder / f"other{suffix}")
    with pytest.raises(
        ModelFolderError, match=rf"exactly one \*\{suffix} file is expected, found cells\{suffix}, other"
    ):
        load_model_folder(folder)
    (folder / f"cells{suffix}").unlink()
    (folder / f"other{suffix}").unlink()
    with pytest.raises(ModelFolderError, match=rf"exactly one \*\{suffix} file is expected, found none"):
        load_model_folder(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flavors: {sklearn: {}}\n", r"has no flavour 'darknet' \(flavours: sklearn\)"),
        ("- 1\n", r"has no flavour 'darknet' \(flavours: none\)"),
        ("a: [\n", "is not YAML"),
        ("flavors: {darknet: 2026-13-45}\n", "has no flavour 'darknet'"),
        (f"flavors: {{darknet: {'9' * 5000}}}\n", "has no flavour 'darknet'"),
        ("[" * 9000, "is not YAML that can be used: nested deeper than 32"),
        ("a: &a [1]\nb: [*a, *a]\n", "is not YAML that can be used: an alias is not possible"),
        ("flavors: {}\nflavors: {}\n", "is not YAML that can be used: this key stands twice"),
        ("a: \x00\n", "is not YAML that can be used"),
        ("flavors: {darknet: {cfg: data/cells.cfg}}\n", "flavour 'darknet' has no weights, names"),
        (FLAVOUR.replace("data/cells.cfg", "../secret") + "}\n", "cfg: '../secret' leaves the model folder"),
        (FLAVOUR.replace("data/cells.cfg", "/etc/passwd") + "}\n", "cfg: '/etc/passwd' leaves the model folder"),
        (FLAVOUR.replace("data/cells.cfg", "data/gone.cfg") + "}\n", "cfg: 'data/gone.cfg' is not in the folder"),
        ("#" * (MAX_MLMODEL_BYTES + 1), "is larger than"),
    ],
)
def test_mlmodel_that_does_not_describe_darknet_is_refused(mlflow_folder: Path, text: str, message: str) -> None:
    (mlflow_folder / "MLmodel").write_text(text)
    with pytest.raises(ModelFolderError, match=message):
        load_model_folder(mlflow_folder)


def test_mlmodel_with_dates_large_numbers_and_nested_metadata_is_read(mlflow_folder: Path) -> None:
    before = load_model_folder(mlflow_folder)
    nested = "{a: " * 20 + "1" + "}" * 20
    text = f"{FLAVOUR}}}\nmetadata: {{taken: 2026-13-45, number: {'9' * 5000}, nested: {nested}}}\n"
    (mlflow_folder / "MLmodel").write_text(text)
    assert load_model_folder(mlflow_folder) == before
