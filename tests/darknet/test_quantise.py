from __future__ import annotations

import shutil
from dataclasses import replace
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
from models.shapes.evaluate import shapes_model

CALIBRATION_PHOTOS = 16


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """models/shapes v2 with a graph in 8 bits, calibrated on photos of the training set."""
    files = shapes_model(2)
    network = load_network(files.cfg_path)
    size = Size(network.input.width, network.input.height)
    photos = [letterbox(draw(seed).pixels, size) for seed in range(CALIBRATION_PHOTOS)]
    path = tmp_path_factory.mktemp("int8") / "model.int8.onnx"
    path.write_bytes(quantise(compile_onnx(files.cfg_path, files.weights_path), network, photos))
    return replace(files, int8_path=path)


def test_quantised_graph_is_smaller_and_names_its_files_and_precision(int8: ModelFolder, tmp_path: Path) -> None:
    assert int8.int8_path is not None
    graph = compile_onnx(int8.cfg_path, int8.weights_path)
    (tmp_path / "float.onnx").write_bytes(graph)
    own = graph_metadata(tmp_path / "float.onnx")
    assert graph_metadata(int8.int8_path) == {**own, "darknet.precision": "int8"}
    assert int8.int8_path.stat().st_size < len(graph) / 2


def test_int8_engine_answers_with_its_own_graph_and_auto_does_not_take_it(int8: ModelFolder) -> None:
    pixels = draw(10_000_001).pixels
    small, full = Detector(int8, engine="onnxruntime-int8"), Detector(int8)
    assert (small.engine, full.engine) == ("onnxruntime-int8", "onnxruntime")
    assert [one.class_id for one in small.detect(pixels)] == [one.class_id for one in full.detect(pixels)]
    assert small.detect(pixels) != full.detect(pixels)


def test_eight_bits_never_pass_for_float32_nor_the_other_way_round(int8: ModelFolder, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"model\.int8\.onnx: is in 8 bits: a float32 graph is expected"):
        Detector(replace(int8, onnx_path=int8.int8_path))
    path = tmp_path / "model.int8.onnx"
    path.write_bytes(compile_onnx(int8.cfg_path, int8.weights_path))
    with pytest.raises(EngineError, match=r"model\.int8\.onnx: is not in 8 bits"):
        Detector(replace(int8, int8_path=path), engine="onnxruntime-int8")
    with pytest.raises(EngineError, match=r"engine 'onnxruntime-int8' runs model\.int8\.onnx, and there is none"):
        Detector(replace(int8, int8_path=None), engine="onnxruntime-int8")
    other = shapes_model(1)
    with pytest.raises(EngineError, match=r"model\.int8\.onnx: made of darknet\.weights\.sha256 \w+, but "):
        Detector(replace(other, int8_path=int8.int8_path), engine="onnxruntime-int8")


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
    command = ["convert", str(files.cfg_path), str(files.weights_path), str(folder / "model.int8.onnx")]
    assert main([*command, "--int8", str(tmp_path / "photo.png")]) == 0
    assert "model.int8.onnx" in capsys.readouterr().out
    assert Detector(folder, engine="onnxruntime-int8").detect(drawn.pixels)[0].class_id in drawn.classes
