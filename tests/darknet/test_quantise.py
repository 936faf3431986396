from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from model_wrappers.darknet import Detector, Size, compile_onnx, letterbox
from model_wrappers.darknet.__main__ import main
from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import ModelFolder
from model_wrappers.darknet.provenance import graph_metadata
from model_wrappers.darknet.quantise import MAX_CALIBRATION_PHOTOS, quantise
from models.shapes.draw import draw
from models.shapes.evaluate import held_out_map, shapes_model

CALIBRATION_PHOTOS, HELD_OUT_PHOTOS = 16, 40
MAX_LOSS = 0.02  # of mAP@0.5


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """models/shapes v2 with a graph in 8 bits, calibrated on photos of the training set."""
    files = shapes_model(2)
    network = load_network(files.cfg_path)
    size = Size(network.input.width, network.input.height)
    photos = [letterbox(draw(seed).pixels, size) for seed in range(CALIBRATION_PHOTOS)]
    path = tmp_path_factory.mktemp("int8") / "model.onnx"
    path.write_bytes(quantise(compile_onnx(files.cfg_path, files.weights_path), network, photos))
    return ModelFolder(files.cfg_path, files.weights_path, files.names_path, path)


def test_quantised_graph_keeps_the_precision(int8: ModelFolder) -> None:
    float32 = held_out_map(shapes_model(2), photos=HELD_OUT_PHOTOS)
    assert held_out_map(int8, photos=HELD_OUT_PHOTOS) > float32 - MAX_LOSS


def test_quantised_graph_is_smaller_and_names_its_files(int8: ModelFolder, tmp_path: Path) -> None:
    assert int8.onnx_path is not None
    graph = compile_onnx(int8.cfg_path, int8.weights_path)
    (tmp_path / "float.onnx").write_bytes(graph)
    assert graph_metadata(int8.onnx_path) == graph_metadata(tmp_path / "float.onnx")
    assert int8.onnx_path.stat().st_size < len(graph) / 2


@pytest.mark.parametrize("count", [0, MAX_CALIBRATION_PHOTOS + 1])
def test_quantise_wants_a_bounded_number_of_photos(count: int) -> None:
    network = load_network(shapes_model(2).cfg_path)
    with pytest.raises(EngineError, match=f"{count} calibration photos: 1 to {MAX_CALIBRATION_PHOTOS}"):
        quantise(b"", network, [np.zeros((1, 1, 3), np.uint8)] * count)


def test_convert_calibrates_on_the_photos_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cv2

    files = shapes_model(2)
    folder = tmp_path / "model"
    folder.mkdir()
    for path in (files.cfg_path, files.weights_path, files.names_path):
        shutil.copy(path, folder)
    drawn = draw(10_000_001)
    cv2.imwrite(str(tmp_path / "photo.png"), drawn.pixels[..., ::-1])
    command = ["convert", str(files.cfg_path), str(files.weights_path), str(folder / "model.onnx")]
    assert main([*command, "--int8", str(tmp_path / "photo.png")]) == 0
    assert "model.onnx" in capsys.readouterr().out
    assert Detector(folder).detect(drawn.pixels)[0].class_id in drawn.classes
