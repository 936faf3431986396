"""The record that travels between transformer and model: a letterboxed photo and the size of the original.

Layout: one ``.npy`` file (format 1.0) as ``numpy.save`` writes a zero-dimensional array of

    [('size', '<u4', (2,)), ('pixels', '|u1', (H, W, 3))]

``size`` is (width, height) of the original photo, ``pixels`` RGB. ``numpy.load(..., allow_pickle=False)`` reads it.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model_wrappers.errors import ComponentError

Pixels = npt.NDArray[np.uint8]

MAGIC = b"\x93NUMPY"
MAX_SIDE = 4096  # of the letterboxed picture
MAX_PHOTO_SIDE = 1 << 20  # of the original
REASON = "WIRE_RECORD_INVALID"

_PREFIX = MAGIC + b"\x01\x00"
_ALIGN = 64
_SIZE = struct.Struct("<II")
_LENGTH = struct.Struct("<H")
_START = len(_PREFIX) + _LENGTH.size
_MAX_HEADER = 256
_HEADER = re.compile(
    rb"\{'descr': \[\('size', '<u4', \(2,\)\), \('pixels', '\|u1', \(([1-9][0-9]{0,3}), ([1-9][0-9]{0,3}), 3\)\)\], "
    rb"'fortran_order': False, 'shape': \(\), \} *\n"
)


class PhotoSize(NamedTuple):
    """Width and height of the original photo in pixels."""

    width: int
    height: int


def is_record(data: bytes | bytearray | memoryview) -> bool:
    """Whether ``data`` starts as a record does (no photo format does)."""
    return bytes(data[: len(MAGIC)]) == MAGIC


def encode(size: tuple[int, int], pixels: Pixels) -> bytes:
    """(width, height) of the original and uint8 [H, W, 3] → one record. ``ValueError`` for anything else."""
    _check(size, pixels)
    height, width, _ = pixels.shape
    text = (
        f"{{'descr': [('size', '<u4', (2,)), ('pixels', '|u1', ({height}, {width}, 3))], "
        "'fortran_order': False, 'shape': (), }"
    ).encode()
    padding = -(_START + len(text) + 1) % _ALIGN
    header = text + b" " * padding + b"\n"
    return b"".join((_PREFIX, _LENGTH.pack(len(header)), header, _SIZE.pack(*size), np.ascontiguousarray(pixels).data))


def decode(data: bytes | bytearray | memoryview) -> tuple[PhotoSize, Pixels]:
    """One record → the original's size and a view (no copy) of its pixels.

    Raises:
        ComponentError: 400 ``WIRE_RECORD_INVALID`` for anything but exactly one record.
    """
    view = memoryview(data)
    height, width, start = _parse_header(view)
    expected = start + _SIZE.size + height * width * 3
    if len(view) != expected:
        raise _invalid(f"a record of {width}x{height} pixels has {expected} bytes, found {len(view)}")
    size = PhotoSize(*_SIZE.unpack_from(view, start))
    if not (0 < size.width <= MAX_PHOTO_SIDE and 0 < size.height <= MAX_PHOTO_SIDE):
        raise _invalid(f"size {size.width}x{size.height} is not between 1 and {MAX_PHOTO_SIDE} pixels a side")
    pixels = np.frombuffer(view, np.uint8, offset=start + _SIZE.size).reshape(height, width, 3)
    return size, pixels


def _parse_header(view: memoryview) -> tuple[int, int, int]:
    """Height, width, and where the values start."""
    if len(view) < _START or bytes(view[: len(_PREFIX)]) != _PREFIX:
        raise _invalid("it does not start as a .npy file of format 1.0")
    (length,) = _LENGTH.unpack_from(view, len(_PREFIX))
    match = _HEADER.fullmatch(bytes(view[_START : _START + min(length, _MAX_HEADER)]))
    if match is None or length > _MAX_HEADER:
        raise _invalid("its header is not [('size', '<u4', (2,)), ('pixels', '|u1', (H, W, 3))] in C order")
    height, width = int(match[1]), int(match[2])
    if max(height, width) > MAX_SIDE:
        raise _invalid(f"{width}x{height} pixels: at most {MAX_SIDE} a side are possible")
    return height, width, _START + length


def _check(size: tuple[int, int], pixels: Pixels) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"pixels: uint8 [H, W, 3] is expected, found {pixels.dtype} {list(pixels.shape)}")
    if not 0 < min(pixels.shape[:2]) <= max(pixels.shape[:2]) <= MAX_SIDE:
        raise ValueError(f"pixels: 1 to {MAX_SIDE} a side are possible, found {list(pixels.shape)}")
    if not 0 < min(size) <= max(size) <= MAX_PHOTO_SIDE:
        raise ValueError(f"size: 1 to {MAX_PHOTO_SIDE} a side are possible, found {tuple(size)}")


def _invalid(cause: str) -> ComponentError:
    return ComponentError(f"the bytes are no photo record: {cause}", reason=REASON)
