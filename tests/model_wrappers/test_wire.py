from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_wrappers import wire
from model_wrappers.errors import ComponentError

sides = st.integers(1, 40)


def _pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@given(size=st.tuples(st.integers(1, 1 << 20), st.integers(1, 1 << 20)), height=sides, width=sides)
def test_record_is_read_back_equal(size: tuple[int, int], height: int, width: int) -> None:
    pixels = _pixels(height, width)
    record = wire.encode(size, pixels)
    assert wire.is_record(record)
    found_size, found = wire.decode(record)
    assert found_size == size
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize(("height", "width"), [(416, 416), (7, 9), (320, 1000)])
def test_record_is_numpys_own_format(height: int, width: int) -> None:
    pixels = _pixels(height, width)
    record = wire.encode((640, 480), pixels)
    loaded = np.load(io.BytesIO(record), allow_pickle=False)
    assert loaded["size"].tolist() == [640, 480]
    np.testing.assert_array_equal(loaded["pixels"], pixels)
    saved = io.BytesIO()
    np.save(saved, loaded)
    assert saved.getvalue() == record


def test_decode_copies_nothing() -> None:
    record = bytearray(wire.encode((4, 4), _pixels(4, 4)))
    _, pixels = wire.decode(record)
    record[-1] ^= 255
    assert pixels[3, 3, 2] == record[-1]


def test_decode_of_bytes_is_read_only() -> None:
    _, pixels = wire.decode(wire.encode((4, 4), _pixels(4, 4)))
    assert not pixels.flags.writeable


RECORD = wire.encode((640, 480), _pixels(4, 6))


def _saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _dtype(size: str = "<u4", pixels: str = "u1", shape: tuple[int, ...] = (4, 6, 3)) -> np.dtype:
    return np.dtype([("size", size, (2,)), ("pixels", pixels, shape)])


REFUSED = {
    "nothing": (b"", "does not start as a .npy file"),
    "photo": (b"\xff\xd8\xff\xe0" + b"\x00" * 200, "does not start as a .npy file"),
    "format 2.0": (RECORD[:6] + b"\x02" + RECORD[7:], "does not start as a .npy file of format 1.0"),
    "cut": (RECORD[:-1], "has 208 bytes, found 207"),
    "longer": (RECORD + b"\x00", "has 208 bytes, found 209"),
    "cut in the header": (RECORD[:40], "its header is not"),
    "pickle": (_saved(np.array({"a": 1}, object)), "its header is not"),
    "plain array": (_saved(_pixels(4, 6)), "its header is not"),
    "wide size": (_saved(np.zeros((), _dtype(size="<i8"))), "its header is not"),
    "float pixels": (_saved(np.zeros((), _dtype(pixels="<f4"))), "its header is not"),
    "grey": (_saved(np.zeros((), _dtype(shape=(4, 6)))), "its header is not"),
    "two records": (_saved(np.zeros(2, _dtype())), "its header is not"),
    "large": (_saved(np.zeros((), _dtype(shape=(1, 5000, 3)))), "5000x1 pixels: at most 4096 a side"),
    "zero size": (_saved(np.zeros((), _dtype())), "size 0x0 is not between 1 and"),
    "long header": (RECORD[:8] + b"\xff\xff" + RECORD[10:], "its header is not"),
}


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED)
def test_decode_refuses_anything_but_one_record(data: bytes, message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        wire.decode(data)
    assert (caught.value.status_code, caught.value.reason) == (400, "WIRE_RECORD_INVALID")
    assert message in str(caught.value)


@given(place=st.integers(0, len(RECORD) - 1), byte=st.integers(0, 255))
def test_decode_answers_a_damaged_record_with_a_record_or_an_error(place: int, byte: int) -> None:
    damaged = RECORD[:place] + bytes([byte]) + RECORD[place + 1 :]
    try:
        _, pixels = wire.decode(damaged)
    except ComponentError as error:
        assert error.reason == "WIRE_RECORD_INVALID"
    else:
        assert pixels.size == 72


@pytest.mark.parametrize(
    ("size", "pixels"),
    [
        ((0, 1), _pixels(2, 2)),
        ((1, 1 << 21), _pixels(2, 2)),
        ((1, 1), _pixels(2, 2).astype(np.float32)),
        ((1, 1), _pixels(2, 2)[..., 0]),
        ((1, 1), np.zeros((0, 2, 3), np.uint8)),
        ((1, 1), np.zeros((1, 4097, 3), np.uint8)),
    ],
)
def test_encode_refuses_what_decode_would(size: tuple[int, int], pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="size: |pixels: "):
        wire.encode(size, pixels)


def test_encode_takes_pixels_that_lie_in_another_order() -> None:
    pixels = _pixels(4, 6)
    for view in (pixels[:, ::-1], pixels.swapaxes(0, 1), pixels[..., ::-1]):
        _, decoded = wire.decode(wire.encode((768, 576), view))
        np.testing.assert_array_equal(decoded, view)
