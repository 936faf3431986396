from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import model_wrappers.darknet as library
from model_wrappers import photo
from model_wrappers.darknet import Box, Detector, EngineError, InputError, ModelFolder, Size, check, compile_onnx
from tests.darknet.networks import CELL, write_handmade_model
from tests.data import REPOSITORY, SHARED_DATA


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_handmade_model(tmp_path / "model")


def red_corner(side: int = 2 * CELL) -> np.ndarray:
    """Black but for the upper left quarter, which is red."""
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[: side // 2, : side // 2, 0] = 255
    return pixels


def test_detector_finds_the_cell_that_is_red(folder: Path) -> None:
    (found,) = Detector(folder).detect(red_corner())
    assert (found.label, found.class_id) == ("red", 0)
    assert found.confidence == pytest.approx((1 / (1 + np.exp(-10))) ** 2, abs=1e-6)
    assert found.box == Box(0, 0, CELL, CELL)


def test_boxes_are_in_pixels_of_the_photo(folder: Path) -> None:
    wide = np.zeros((300, 600, 3), np.uint8)  # lies in rows 16 to 48 of the 64 x 64 input, grey above and below
    wide[:, :300, 1] = 255
    found = [one for one in Detector(folder, clip=False).detect(wide) if one.label == "green" and one.confidence > 0.5]
    assert [one.box for one in found] == [Box(0, -150, 300, 150), Box(0, 150, 300, 450)]
    clipped = [one.box for one in Detector(folder).detect(wide) if one.label == "green" and one.confidence > 0.5]
    assert clipped == [Box(0, 0, 300, 150), Box(0, 150, 300, 300)]


def test_clipping_drops_boxes_wholly_outside(folder: Path) -> None:
    narrow = np.full((640, 10, 3), 255, np.uint8)
    boxes = [one.box for one in Detector(folder, confidence=0.0, iou=1.0).detect(narrow)]
    assert boxes
    assert all(0 <= box.x_min < box.x_max <= 10 and 0 <= box.y_min < box.y_max <= 640 for box in boxes)


def test_two_classes_of_one_box_are_two_detections(folder: Path) -> None:
    yellow = red_corner()
    yellow[:CELL, :CELL, 1] = 255
    assert [one.class_id for one in Detector(folder).detect(yellow)] == [0, 1]


def test_confidence_cuts_and_most_confident_come_first(folder: Path) -> None:
    photo_of_two = red_corner()
    photo_of_two[CELL:, CELL:, 0] = 160
    scores = [one.confidence for one in Detector(folder).detect(photo_of_two)]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 2
    assert len(Detector(folder, confidence=scores[1]).detect(photo_of_two)) == 1


def test_letterboxed_pixels_give_the_photos_detections(folder: Path) -> None:
    detector = Detector(folder)
    rgb = np.random.default_rng(0).integers(0, 256, (90, 200, 3), np.uint8)
    boxed = library.letterbox(rgb, detector.input)
    assert detector.detect_letterboxed(boxed, Size(200, 90)) == detector.detect(rgb)


@pytest.mark.parametrize("pixels", [np.zeros((64, 64), "u1"), np.zeros((64, 64, 3), "f4"), np.zeros((0, 2, 3), "u1")])
def test_detector_refuses_what_is_no_photo(folder: Path, pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match="uint8"):
        Detector(folder).detect(pixels)


def test_detector_refuses_pixels_of_another_size(folder: Path) -> None:
    with pytest.raises(InputError, match="the pixels are 32x64, the network's input is 64x64"):
        Detector(folder).detect_letterboxed(np.zeros((64, 32, 3), np.uint8), Size(1, 1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"confidence": 1.5}, "confidence=1.5: a number from 0 to 1 is expected"),
        ({"iou": -0.1}, "iou=-0.1: a number from 0 to 1 is expected"),
        ({"nms": "soft"}, "nms='soft' is not one of sort, obj"),
    ],
)
def test_detector_refuses_settings(folder: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Detector(folder, **settings)


def test_unknown_engine_is_named(folder: Path) -> None:
    with pytest.raises(EngineError, match="engine 'caffe' is not one of auto, onnxruntime, openvino, opencv, darknet"):
        Detector(folder, engine="caffe")


def test_compiled_graph_of_the_folder_is_used_and_a_stale_one_refused(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(compile_onnx(folder / "cells.cfg", folder / "cells.weights"))
    assert len(Detector(folder).detect(red_corner())) == 1
    weights = bytearray((folder / "cells.weights").read_bytes())
    weights[-1] ^= 1
    (folder / "cells.weights").write_bytes(weights)
    with pytest.raises(
        EngineError, match=r"model\.onnx: made of darknet\.weights\.sha256 \w+, but .*cells\.weights is"
    ):
        Detector(folder)


def test_check_summarises(folder: Path) -> None:
    summary = check(folder / "cells.cfg", folder / "cells.weights", folder / "cells.names")
    assert (summary.width, summary.height, summary.classes, summary.names) == (64, 64, 2, ("red", "green"))
    assert (summary.layers, summary.convolutions, summary.version, summary.seen) == (2, 1, "0.2.5", 0)
    assert summary.weights_bytes == 20 + 4 * summary.floats


def test_serving_a_compiled_graph_does_not_import_onnx(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(compile_onnx(folder / "cells.cfg", folder / "cells.weights"))
    code = (
        "import sys, pathlib; from model_wrappers.darknet import Detector; "
        f"Detector(pathlib.Path({str(folder)!r})); sys.exit('onnx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


def test_public_names_are_sorted_and_there() -> None:
    assert library.__all__ == sorted(library.__all__)
    assert all(hasattr(library, name) for name in library.__all__)


# Class and confidence as Debian's darknet 0.0.0+git20180914 prints them (-thresh .25, NMS .45).
SEEN_BY_DARKNET = {
    "bird": [("bird", 1.0)],
    "dog": [("dog", 0.94), ("car", 0.88), ("bicycle", 0.86), ("cat", 0.45), ("dog", 0.35), ("truck", 0.26)],
    "person": [("person", 1.0), ("dog", 0.98), ("sheep", 0.87), ("cow", 0.58)],
    "scream": [],
}
# Corners from the same program, by its box centres and sides.
DOG_BOXES = {
    "bicycle": (110.9, 130.5, 562.0, 505.5),
    "car": (452.3, 72.0, 661.2, 164.5),
    "cat": (108.1, 194.8, 382.4, 551.6),
}


@pytest.fixture(scope="module")
def published() -> Detector:
    files = [SHARED_DATA / part for part in ("cfg/yolo-fastest-1.1-xl.cfg", "weights/yolo-fastest-1.1-xl.weights")]
    return Detector(ModelFolder(*files, SHARED_DATA / "names" / "coco.names"))


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(SEEN_BY_DARKNET))
def test_detector_sees_what_darknet_sees(published: Detector, name: str) -> None:
    found = published.detect(photo.decode((SHARED_DATA / "photos" / f"{name}.jpg").read_bytes()))
    assert [one.label for one in found] == [label for label, _ in SEEN_BY_DARKNET[name]]
    for one, (_, confidence) in zip(found, SEEN_BY_DARKNET[name], strict=True):
        assert one.confidence == pytest.approx(confidence, abs=0.02)


@pytest.mark.data
def test_boxes_lie_where_darknet_puts_them(published: Detector) -> None:
    found = published.detect(photo.decode((SHARED_DATA / "photos" / "dog.jpg").read_bytes()))
    boxes = {one.label: one.box for one in found}
    for label, expected in DOG_BOXES.items():
        box = boxes[label]
        assert (box.x_min, box.y_min, box.x_max, box.y_max) == pytest.approx(expected, abs=2)
