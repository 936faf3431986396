from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest

from model_wrappers import wire
from model_wrappers.darknet import EngineError, Size, WeightsError, compile_onnx, letterbox
from model_wrappers.errors import ComponentError
from model_wrappers.model_identity import IDENTITY_NAME
from model_wrappers.yolo_detector import YoloDetector
from tests.darknet.networks import CELL, write_handmade_model
from tests.data import SHARED_DATA

FACTS = {"name": "yolo", "version": "3", "digest": "sha256:" + "ab" * 32, "uri": "models:/yolo/3"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_handmade_model(tmp_path / "cells")
    (folder / IDENTITY_NAME).write_text(json.dumps(FACTS))
    return folder


def _load(folder: Path, **parameters: Any) -> YoloDetector:
    detector = YoloDetector(model_uri=str(folder), **parameters)
    detector.load()
    return detector


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[YoloDetector]:
    """One detector, and one set of decoder processes, for the tests that send encoded photos."""
    folder = write_handmade_model(tmp_path_factory.mktemp("shared") / "cells")
    detector = _load(folder)
    yield detector
    detector.close()


def red_corner() -> np.ndarray:
    pixels = np.zeros((2 * CELL, 2 * CELL, 3), np.uint8)
    pixels[:CELL, :CELL, 0] = 255
    return pixels


def _png(rgb: np.ndarray) -> bytes:
    return cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()


RED = {"label": "red", "class_id": 0, "confidence": 0.9999, "box": {"x_min": 0, "y_min": 0, "x_max": 32, "y_max": 32}}


def test_predict_answers_a_record_with_exactly_the_documented_reply(folder: Path) -> None:
    reply = _load(folder).predict(wire.encode((64, 64), red_corner()), [], meta={})
    assert reply == {
        "detections": [RED],
        "image": {"width": 64, "height": 64},
        "model": {"name": "yolo", "version": "3", "digest": FACTS["digest"]},
    }
    json.dumps(reply, allow_nan=False)


def test_predict_maps_boxes_back_to_the_original_photo(folder: Path) -> None:
    wide = np.zeros((300, 600, 3), np.uint8)
    wide[:, :300, 1] = 255
    reply = _load(folder, confidence=0.5).predict(wire.encode((600, 300), letterbox(wide, Size(64, 64))))
    assert reply["image"] == {"width": 600, "height": 300}
    assert [one["box"] for one in reply["detections"]] == [
        {"x_min": 0, "y_min": 0, "x_max": 300, "y_max": 150},
        {"x_min": 0, "y_min": 150, "x_max": 300, "y_max": 300},
    ]
    raw = _load(folder, confidence=0.5, boxes="raw").predict(wide)
    assert [one["box"]["y_min"] for one in raw["detections"]] == [-150, 150]


@pytest.mark.parametrize(
    "form", ["bytes", "bytearray", "memoryview", "uint8", "int64", "float64", "batch of one", "photo"]
)
def test_predict_takes_records_arrays_and_photos_alike(shared: YoloDetector, form: str) -> None:
    rgb = red_corner()
    record = wire.encode((64, 64), rgb)
    sent = {
        "bytes": record,
        "bytearray": bytearray(record),
        "memoryview": memoryview(record),
        "uint8": rgb,
        "int64": rgb.astype(np.int64),
        "float64": rgb.astype(np.float64),
        "batch of one": rgb[None],
        "photo": _png(rgb),
    }[form]
    assert shared.predict(sent)["detections"] == [RED]


@pytest.mark.parametrize(
    "sent", [np.zeros((4, 4)), np.full((2, 2, 3), 256), np.full((2, 2, 3), np.nan), np.array(["a"])]
)
def test_predict_refuses_arrays_that_are_no_photo(shared: YoloDetector, sent: np.ndarray) -> None:
    with pytest.raises(ComponentError) as caught:
        shared.predict(sent)
    assert (caught.value.status_code, caught.value.reason) == (400, "UNSUPPORTED_INPUT")


@pytest.mark.parametrize("sent", [b"", b"no photo", None, 3, {}, wire.encode((1, 1), red_corner())[:-1]])
def test_predict_refuses_what_is_no_photo_with_4xx_and_a_code(shared: YoloDetector, sent: object) -> None:
    with pytest.raises(ComponentError) as caught:
        shared.predict(sent)
    assert 400 <= caught.value.status_code < 500
    assert caught.value.reason.isupper()
    assert str(caught.value)


def test_record_of_another_input_size_is_refused_naming_both(folder: Path) -> None:
    with pytest.raises(ComponentError) as caught:
        _load(folder).predict(wire.encode((64, 64), np.zeros((32, 48, 3), np.uint8)))
    assert (caught.value.status_code, caught.value.reason) == (400, "INPUT_SIZE_MISMATCH")
    assert "48x32" in str(caught.value)
    assert "64x64" in str(caught.value)


def test_parameter_input_that_differs_from_the_cfg_refuses_every_request(folder: Path) -> None:
    with pytest.raises(ComponentError, match="parameter input=416x416 and the network's input of 64x64") as caught:
        _load(folder, input="416x416").predict(red_corner())
    assert (caught.value.status_code, caught.value.reason) == (400, "INPUT_SIZE_MISMATCH")
    assert _load(folder, input="64x64").predict(red_corner())["detections"] == [RED]


@pytest.mark.parametrize(
    ("parameters", "message"), [({"input": "416"}, "WIDTHxHEIGHT"), ({"boxes": "round"}, "clipped, raw")]
)
def test_wrong_parameters_fail_at_construction(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        YoloDetector(**parameters)


@pytest.mark.parametrize("parameters", [{"confidence": 2}, {"nms": "soft"}])
def test_wrong_thresholds_fail_at_load(folder: Path, parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="confidence=2|nms='soft'"):
        _load(folder, **parameters)


def test_unknown_engine_fails_at_load(folder: Path) -> None:
    with pytest.raises(EngineError, match="caffe"):
        _load(folder, engine="caffe")


def test_broken_weights_fail_at_load_and_are_named(folder: Path) -> None:
    weights = folder / "cells.weights"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"cells\.weights: expected \d+ bytes, found"):
        _load(folder)


def test_predict_before_load_is_503(folder: Path) -> None:
    with pytest.raises(ComponentError) as caught:
        YoloDetector(model_uri=str(folder)).predict(red_corner())
    assert (caught.value.status_code, caught.value.reason) == (503, "MODEL_NOT_LOADED")


def test_model_is_named_in_provenance_and_metadata(folder: Path) -> None:
    detector = YoloDetector(model_uri=folder.as_uri())
    assert detector.provenance is None
    assert detector.init_metadata()["versions"] == ["3"]
    detector.load()
    assert detector.provenance == FACTS
    own = {"digest": FACTS["digest"], "uri": FACTS["uri"]}
    assert detector.init_metadata()["custom"] == {
        **own,
        "engine": "onnxruntime",
        "engine_version": onnxruntime.__version__,
    }


def test_compiled_graph_gives_the_same_reply(folder: Path) -> None:
    compiled = _load(folder).predict(red_corner())
    (folder / "model.onnx").write_bytes(compile_onnx(folder / "cells.cfg", folder / "cells.weights"))
    assert _load(folder).predict(red_corner()) == compiled


def test_metrics_count_the_last_predictions_classes_once(folder: Path) -> None:
    detector = _load(folder)
    assert detector.metrics() == []
    detector.predict(red_corner())
    timer, counter = detector.metrics()
    assert (timer["type"], timer["key"]) == ("TIMER", "yolo_detect_ms")
    assert 0 < timer["value"] < 60_000
    assert counter == {"type": "COUNTER", "key": "yolo_detections", "value": 1, "tags": {"label": "red"}}
    assert detector.metrics() == []


@pytest.mark.data
def test_published_weights_find_the_bird(tmp_path: Path) -> None:
    for part in ("cfg/yolo-fastest-1.1.cfg", "weights/yolo-fastest-1.1.weights", "names/coco.names"):
        shutil.copy(SHARED_DATA / part, tmp_path)
    detector = _load(tmp_path)
    try:
        reply = detector.predict((SHARED_DATA / "photos" / "bird.jpg").read_bytes())
    finally:
        detector.close()
    assert reply["image"] == {"width": 1024, "height": 763}
    assert [one["label"] for one in reply["detections"]] == ["bird"]
    assert reply["model"]["name"] == tmp_path.name
    assert reply["model"]["digest"].startswith("sha256:")
