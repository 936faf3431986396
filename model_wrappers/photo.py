"""A photo that is trusted (a file of one's own) to RGB pixels, in this process."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model_wrappers.intake.decode import decode as decode_checked
from model_wrappers.intake.errors import IMAGE_TOO_LARGE, PhotoError
from model_wrappers.intake.header import MAX_PHOTO_BYTES, read_header
from model_wrappers.regular_file import read_start


def decode(data: bytes) -> npt.NDArray[np.uint8]:
    """JPEG, PNG, WebP, BMP, GIF (first frame) or TIFF → uint8 [H, W, 3] RGB, upright.

    Raises:
        PhotoError: with ``status_code`` and ``reason``, as the intake of a served component does.
    """
    read_header(data)
    return decode_checked(data)


@dataclass(frozen=True)
class PhotoFile:
    """An encoded photo as it was read, once, from ``path``."""

    path: Path
    data: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def decode(self) -> npt.NDArray[np.uint8]:
        """As the function of this name; the error begins with the path."""
        try:
            return decode(self.data)
        except PhotoError as exc:
            raise PhotoError(exc.reason, f"{self.path}: {exc}") from exc


def read(path: Path) -> PhotoFile:
    """Read a photo of at most ``MAX_PHOTO_BYTES``. Raises ``OSError``, or ``PhotoError`` where the file is larger."""
    data = read_start(path, MAX_PHOTO_BYTES + 1)
    if len(data) > MAX_PHOTO_BYTES:
        raise PhotoError(IMAGE_TOO_LARGE, f"{path}: is larger than {MAX_PHOTO_BYTES:,} bytes, which is what is read.")
    return PhotoFile(path, data)
