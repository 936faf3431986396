"""Which way up a PNG or a WebP says it is: OpenCV turns only JPEG and TIFF when it is asked for transparency too."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

UPRIGHT = 1
TAG = 0x0112  # Orientation, EXIF 2.32 table 4
MAX_CHUNKS = 4096
MAX_ENTRIES = 512
_EXIF_PREFIX = b"Exif\0\0"


def stored_orientation(photo: bytes) -> int:
    """1 to 8 as EXIF has it; 1 where there is none, or none that makes sense."""
    if photo.startswith(b"\x89PNG"):
        exif = _chunk(photo, b"eXIf", start=8, form=">I4s", overhead=4)
    elif photo.startswith(b"RIFF"):
        exif = _chunk(photo, b"EXIF", start=12, form="<4sI", overhead=0)
    else:
        return UPRIGHT
    try:
        return _tag(exif.removeprefix(_EXIF_PREFIX))
    except struct.error:  # cut short
        return UPRIGHT


def turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The stored picture [H, W] or [H, W, C] as it is meant to be seen."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _chunk(photo: bytes, wanted: bytes, *, start: int, form: str, overhead: int) -> bytes:
    """Content of the first chunk of a kind; RIFF pads to even lengths, PNG has ``overhead`` bytes of checksum."""
    position = start
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(photo):
            break
        first, second = struct.unpack_from(form, photo, position)
        kind, length = (first, second) if isinstance(first, bytes) else (second, first)
        if kind == wanted:
            return photo[position + 8 : position + 8 + length]
        position += 8 + length + (overhead or length % 2)
    return b""


def _tag(exif: bytes) -> int:
    """The tag in the first directory of a TIFF structure."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return UPRIGHT
    (directory,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, directory)
    for entry in range(min(count, MAX_ENTRIES)):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, directory + 2 + 12 * entry)
        if tag == TAG:
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT
