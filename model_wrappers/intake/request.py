"""What the decoder process is asked for, as a fixed header on its pipe."""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass

_FORM = struct.Struct("<IHHfB")


@dataclass(frozen=True)
class Preparation:
    """``width`` x ``height``: letterbox to that many pixels, or 0 x 0 for the photo as it is.

    ``sharpness`` 1.0 leaves the photo alone, above sharpens, below blurs; ``jpeg_quality`` 1..100 encodes and decodes
    it once more, 0 does not.
    """

    width: int = 0
    height: int = 0
    sharpness: float = 1.0
    jpeg_quality: int = 0

    def pack(self, photo_bytes: int) -> bytes:
        return _FORM.pack(photo_bytes, *astuple(self))

    @classmethod
    def unpack(cls, head: bytes) -> tuple[int, Preparation]:
        """Length of the photo that follows, and what to do with it."""
        photo_bytes, width, height, sharpness, quality = _FORM.unpack(head)
        return photo_bytes, cls(width, height, sharpness, quality)


HEAD_BYTES = _FORM.size
REPLY = struct.Struct("<??IIII")
"""Whether it decoded, whether the process ends now, original width and height, then those of the pixels.

Of a photo that did not decode the first number is the length of the sentence that follows.
"""

MAX_SENTENCE_BYTES = 4096

READY = b"\x01"
"""Sent once when the process has imported what it needs and has confined itself."""
