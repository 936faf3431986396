"""Paths, bytes and arrays → encoded photos."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from slipway.client.draw import decode_photo
from slipway.client.errors import InvalidPhoto
from slipway.client.photo import encode_photo, encode_png
from slipway.contract.limits import MAX_PHOTO_BYTES

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))


@given(arrays.arrays(np.uint8, SHAPES))
def test_png_decodes_to_the_same_pixels(rgb: np.ndarray) -> None:
    decoded = cv2.imdecode(np.frombuffer(encode_png(rgb), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(decoded, rgb)


def test_view_of_an_array_is_sent_as_it_looks() -> None:
    bgr = np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8)
    decoded = cv2.imdecode(np.frombuffer(encode_photo(bgr[..., ::-1]), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decoded, bgr)


def test_pillow_image_is_sent_as_its_rgb_pixels() -> None:
    rgb = np.random.default_rng(2).integers(0, 256, (9, 7, 3), np.uint8)
    image = Image.fromarray(rgb)
    assert encode_photo(image) == encode_png(rgb)
    assert np.array_equal(decode_photo(image), rgb)


def test_object_that_numpy_reads_is_an_array() -> None:
    class Tensor:
        def __array__(self, dtype: object = None, *, copy: bool | None = None) -> np.ndarray:
            return np.full((4, 5, 3), 7, np.uint8)

    assert encode_photo(Tensor()) == encode_png(np.full((4, 5, 3), 7, np.uint8))  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["L", "RGBA", "YCbCr", "HSV", "P"])
def test_pillow_image_of_another_mode_says_how_to_convert_it(mode: str) -> None:
    with pytest.raises(InvalidPhoto, match=rf"Image of mode {mode}: RGB is expected: send photo.convert\('RGB'\)"):
        encode_photo(Image.new(mode, (4, 4)))


def test_pillow_image_of_a_cut_file_is_refused() -> None:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)).save(whole, "JPEG")
    with (
        Image.open(io.BytesIO(whole.getvalue()[:-900])) as image,
        pytest.raises(InvalidPhoto, match="JpegImageFile cannot be read as an array: .*truncated"),
    ):
        encode_photo(image)


def test_bytes_and_files_go_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff...")
    given_forms = (path, str(path), b"\xff\xd8\xff...", bytearray(b"\xff\xd8\xff..."), memoryview(b"\xff\xd8\xff..."))
    assert {encode_photo(one) for one in given_forms} == {b"\xff\xd8\xff..."}


@pytest.mark.parametrize(
    ("photo", "said"),
    [
        (b"", "the photo: empty"),
        (bytes(MAX_PHOTO_BYTES + 1), "the photo: larger than 8388608 bytes"),
        ("nowhere.jpg", "nowhere.jpg: No such file"),
        ("nul\0.jpg", "null byte"),
        (".", "Is a directory"),
        (7, "int is no photo"),
        (np.zeros((4, 4), np.uint8), r"uint8 \[4, 4\]"),
        (np.zeros((4, 4, 4), np.uint8), r"uint8 \[4, 4, 4\]"),
        (np.zeros((0, 4, 3), np.uint8), r"uint8 \[0, 4, 3\]"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
    ],
)
def test_what_is_no_photo_is_refused_before_sending(photo: object, said: str) -> None:
    with pytest.raises(InvalidPhoto, match=said):
        encode_photo(photo)  # type: ignore[arg-type]


def test_file_above_the_limit_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(MAX_PHOTO_BYTES * 1000)
    with pytest.raises(InvalidPhoto, match=r"large\.jpg: larger than"):
        encode_photo(path)
