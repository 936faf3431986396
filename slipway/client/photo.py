"""What a caller has of a photo (a path, bytes, an array) → the bytes of an encoded photo."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from slipway.client.errors import InvalidPhoto
from slipway.contract.limits import MAX_PHOTO_BYTES

Pixels: TypeAlias = npt.NDArray[np.uint8]


class ArrayLike(Protocol):
    """What NumPy reads as an array without being told how: Pillow's images, other libraries' arrays."""

    @property
    def __array_interface__(self) -> dict[str, Any]: ...


Photo: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | npt.NDArray[Any] | ArrayLike
"""A path, an encoded photo (JPEG, PNG, WebP, BMP, GIF, TIFF), or an array [H, W, 3] of RGB levels from 0 to 255.

An array may be an ``np.ndarray``, or an object that NumPy reads as one (``__array_interface__`` or ``__array__``), such as
a Pillow image of mode RGB; its pixels go as they lie there, without regard to EXIF.
"""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UP = 2
_PNG_COMPRESSION = 3
"""Of zlib's 1 to 9: higher ones cost several times the time for a few per cent."""


def encode_photo(photo: Photo) -> bytes:
    """The bytes to send.

    Raises:
        InvalidPhoto: it cannot be read, is empty, is above 8 MiB, or is an array or a Pillow image of another kind.
    """
    if isinstance(photo, np.ndarray):
        return _bounded(encode_png(photo), "the array as PNG")
    if isinstance(photo, bytes | bytearray | memoryview):
        return _bounded(bytes(photo), "the photo")
    if isinstance(photo, str | os.PathLike):
        return _read(Path(photo))
    if is_photo(photo):
        return _bounded(encode_png(_pixels(photo)), "the array as PNG")
    raise InvalidPhoto(f"{type(photo).__name__} is no photo: a path, bytes or an array [height, width, 3] is expected")


def is_photo(value: object) -> bool:
    """Whether it is of a kind that ``encode_photo`` looks at."""
    is_known = isinstance(value, str | os.PathLike | bytes | bytearray | memoryview | np.ndarray)
    if is_known or isinstance(value, np.generic):  # a number of NumPy's is an array to NumPy
        return is_known
    kind = type(value)  # not the value itself: asking a Pillow image reads its file
    return hasattr(kind, "__array_interface__") or hasattr(kind, "__array__")


def _pixels(photo: Any) -> npt.NDArray[Any]:
    """Of Pillow's modes HSV, LAB and YCbCr have three channels too, hence the look at ``mode``."""
    kind, mode = type(photo).__name__, getattr(photo, "mode", "RGB")
    if mode != "RGB":
        raise InvalidPhoto(f"{kind} of mode {mode}: RGB is expected: send photo.convert('RGB')")
    try:
        return np.asarray(photo)
    except (OSError, ValueError, TypeError, RuntimeError) as exc:  # Pillow opens lazily: a file that is cut shows here
        raise InvalidPhoto(f"{kind} cannot be read as an array: {exc}") from exc


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return _bounded(file.read(MAX_PHOTO_BYTES + 1), str(path))
    except OSError as exc:
        raise InvalidPhoto(f"{path}: {exc.strerror}") from exc
    except ValueError as exc:  # a NUL in the name
        raise InvalidPhoto(f"{str(path)[:200]!r}: {exc}") from exc


def _bounded(encoded: bytes, what: str) -> bytes:
    if not encoded:
        raise InvalidPhoto(f"{what}: empty")
    if len(encoded) > MAX_PHOTO_BYTES:
        raise InvalidPhoto(f"{what}: larger than {MAX_PHOTO_BYTES} bytes: shrink it, or encode it as JPEG")
    return encoded


def encode_png(rgb: npt.NDArray[Any]) -> bytes:
    """An array uint8 [H, W, 3] as PNG (ISO/IEC 15948): eight bits a channel, each row as its difference to the one above.

    Written here so that sending an array needs no OpenCV.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or min(rgb.shape) < 1:
        raise InvalidPhoto(
            f"an array [height, width, 3] of uint8, red first, is expected; found {rgb.dtype} {list(rgb.shape)}"
        )
    height, width, _ = rgb.shape
    rows = np.empty((height, 1 + 3 * width), np.uint8)
    rows[:, 0] = _UP
    flat = rgb.reshape(height, 3 * width)
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])  # wraps around, as the format wants it
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(rows.tobytes(), _PNG_COMPRESSION)
    return _PNG_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
