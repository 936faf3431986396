from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_wrappers.darknet.errors import InputError
from model_wrappers.darknet.letterbox import GREY, STRIP_LEVELS, Placement, Size, letterbox, place, resize_into


def plain_resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """``resize_image`` of pjreddie's ``image.c``, loop by loop, in float32 levels from 0 to 1; [H, W, C]."""
    rows, columns, channels = image.shape
    one = np.float32(1)
    part = np.zeros((rows, width, channels), np.float32)
    across = np.float32(columns - 1) / np.float32(width - 1)
    for c in range(width):
        if c == width - 1 or columns == 1:
            part[:, c] = image[:, columns - 1]
            continue
        x = np.float32(c) * across
        left = int(x)
        part[:, c] = (one - (x - np.float32(left))) * image[:, left] + (x - np.float32(left)) * image[:, left + 1]
    out = np.zeros((height, width, channels), np.float32)
    down = np.float32(rows - 1) / np.float32(height - 1)
    for r in range(height):
        y = np.float32(r) * down
        top = int(y)
        out[r] = (one - (y - np.float32(top))) * part[top]
        if r == height - 1 or rows == 1:
            continue
        out[r] += (y - np.float32(top)) * part[top + 1]
    return out


def resize(photo: np.ndarray, size: Size) -> np.ndarray:
    resized = np.full((size.height, size.width, 3), 77, np.uint8)
    resize_into(resized, photo)
    return resized


def _photo(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(2, 60),
    height=st.integers(2, 60),
    to_width=st.integers(2, 40),
    to_height=st.integers(2, 40),
    seed=st.integers(0, 99),
)
def test_resize_is_within_one_level_of_darknets_loops(
    width: int, height: int, to_width: int, to_height: int, seed: int
) -> None:
    photo = _photo(width, height, seed)
    expected = np.floor(plain_resize(photo / np.float32(255), to_width, to_height) * 255 + 0.5)
    found = resize(photo, Size(to_width, to_height))
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(
    ("width", "height", "size"), [(768, 576, Size(416, 312)), (90, 60, Size(608, 405)), (31, 700, Size(4000, 60))]
)
def test_resize_in_strips_is_darknets_rule_too(width: int, height: int, size: Size) -> None:
    assert size.width * size.height * 3 > 2 * STRIP_LEVELS
    photo = _photo(width, height)
    expected = np.floor(plain_resize(photo / np.float32(255), *size) * 255 + 0.5)
    differences = np.abs(resize(photo, size) - expected)
    assert differences.max() <= 1
    assert np.count_nonzero(differences) < 0.001 * differences.size


@pytest.mark.parametrize(("rows", "to_rows"), [(2, 42), (7, 320), (16, 416)])
def test_resize_darkens_the_last_row_where_darknets_rounding_does(rows: int, to_rows: int) -> None:
    photo = np.full((rows, 5, 3), 200, np.uint8)
    expected = np.floor(plain_resize(photo / np.float32(255), 6, to_rows) * 255 + 0.5)
    assert expected[-1].max() <= 1
    assert np.abs(resize(photo, Size(6, to_rows)) - expected).max() <= 1


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 9), (9, 1), (5000, 1), (1, 5000)])
def test_letterbox_takes_photos_of_one_pixel_a_side(width: int, height: int) -> None:
    boxed = letterbox(np.full((height, width, 3), 200, np.uint8), Size(32, 24))
    assert boxed.shape == (24, 32, 3)
    assert set(np.unique(boxed)) <= {GREY, 200}
    assert 200 in boxed


@pytest.mark.parametrize(
    ("photo", "net", "expected"),
    [
        (Size(768, 576), Size(320, 320), Placement(320, 240, 0, 40)),
        (Size(352, 448), Size(320, 320), Placement(251, 320, 34, 0)),
        (Size(1352, 900), Size(416, 416), Placement(416, 276, 0, 70)),
        (Size(100, 100), Size(64, 32), Placement(32, 32, 16, 0)),
        (Size(1000, 1), Size(64, 64), Placement(64, 1, 0, 31)),
    ],
)
def test_place_divides_as_darknet_does(photo: Size, net: Size, expected: Placement) -> None:
    assert place(photo, net) == expected


@given(width=st.integers(1, 5000), height=st.integers(1, 5000), net=st.tuples(st.integers(1, 700), st.integers(1, 700)))
def test_place_stays_inside_the_network(width: int, height: int, net: tuple[int, int]) -> None:
    placement = place(Size(width, height), Size(*net))
    assert 1 <= placement.width <= net[0]
    assert 1 <= placement.height <= net[1]
    assert placement.width == net[0] or placement.height == net[1]


def test_letterbox_fills_bars_with_grey_and_keeps_a_photo_of_the_right_size() -> None:
    photo = _photo(64, 32)
    boxed = letterbox(photo, Size(64, 64))
    np.testing.assert_array_equal(boxed[16:48], photo)
    assert (boxed[:16] == GREY).all()
    assert (boxed[48:] == GREY).all()


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), "u1"), np.zeros((4, 4, 4), "u1"), np.zeros((4, 4, 3), "f4"), np.zeros((0, 4, 3), "u1")]
)
def test_letterbox_refuses_what_is_no_rgb_photo(pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"uint8 \[height, width, 3\] is expected, found"):
        letterbox(pixels, Size(8, 8))
