"""Boxes on a photo."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from model_wrappers.labels import colour_of
from slipway.client.detections import Box, Detection, Detections, Size
from slipway.client.draw import MIN_SIDE, Picture
from slipway.client.errors import InvalidPhoto
from slipway.client.reply import Reply

GREY = np.full((400, 800, 3), 90, np.uint8)
CAT = Detection("cat", 0.875, Box(100, 120, 300, 320))


def detections(*found: Detection, size: Size | None = Size(800, 400)) -> Detections:  # noqa: B008  - a constant
    return Detections(found, size, None, Reply({}))


@pytest.mark.parametrize("label", ["circle", "square", "triangle", "car", "stop sign", "backpack", "größe", ""])
def test_colour_of_a_label_is_bright(label: str) -> None:
    colour = colour_of(label)
    assert max(colour) == 255
    assert min(colour) == 77


def test_frame_is_where_the_box_is() -> None:
    pixels = detections(CAT).draw(GREY).pixels
    changed = np.argwhere((pixels != GREY).any(axis=2))
    assert tuple(pixels[320, 200]) == colour_of("cat")
    assert (changed[:, 1].min(), changed[:, 0].max()) == (pytest.approx(100, abs=2), pytest.approx(320, abs=2))
    assert np.array_equal(pixels[125:315, 105:295], GREY[125:315, 105:295])
    assert np.array_equal(GREY, np.full((400, 800, 3), 90, np.uint8))


def test_best_one_is_on_top() -> None:
    other = Detection("dog", 0.5, CAT.box)
    assert tuple(detections(CAT, other).draw(GREY).pixels[320, 200]) == colour_of("cat")


def test_picture_keeps_a_side_limit_and_small_photos_grow() -> None:
    assert detections(CAT).draw(GREY, max_side=200).pixels.shape == (100, 200, 3)
    small = np.zeros((30, 100, 3), np.uint8)
    assert detections(size=Size(100, 30)).draw(small).pixels.shape == (180, 600, 3)
    assert MIN_SIDE == 640


@pytest.mark.parametrize("side", [0, -5])
def test_picture_without_a_side_is_refused(side: int) -> None:
    with pytest.raises(ValueError, match=f"max_side={side}: pixels, 1 or more"):
        detections(CAT).draw(GREY, max_side=side)


def test_label_at_the_border_stays_in_the_picture() -> None:
    edge = Detection("a label that is long", 0.5, Box(790, 0, 800, 5))
    pixels = detections(edge).draw(GREY).pixels
    assert (pixels[2:10, 650:] != 90).any()


def test_box_far_outside_and_a_label_without_end_are_drawn() -> None:
    wild = Detection("x" * 10_000, 0.5, Box(-1e300, 1e300, 1e18, -1e18))
    assert detections(wild).draw(GREY).pixels.shape == GREY.shape


def test_picture_is_shown_saved_and_an_array(tmp_path: Path) -> None:
    picture = detections(CAT).draw(GREY)
    shown = cv2.imdecode(np.frombuffer(picture._repr_png_(), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(shown, picture.pixels)
    picture.save(tmp_path / "boxes.png")
    saved = cv2.imread(str(tmp_path / "boxes.png"), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(saved, np.asarray(picture))
    with pytest.raises(ValueError, match=r"\.xyz"):
        picture.save(tmp_path / "boxes.xyz")
    assert isinstance(picture, Picture)


def test_jpeg_is_drawn_upright() -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((40, 60, 3), np.uint8))[1].tobytes()
    exif = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = jpeg[:2] + exif + jpeg[2:]
    assert detections(size=Size(40, 60)).draw(turned, max_side=60).pixels.shape == (60, 40, 3)


@pytest.mark.parametrize("photo", [b"hello", GREY[:, :300], GREY.astype(np.float32)])
def test_another_photo_is_refused(photo: object) -> None:
    with pytest.raises(InvalidPhoto):
        detections(CAT).draw(photo)  # type: ignore[arg-type]
