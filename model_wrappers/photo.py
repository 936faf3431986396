"""A photo that is trusted (a file of one's own) to RGB pixels, in this process."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model_wrappers.intake.decode import decode as decode_checked
from model_wrappers.intake.header import read_header


def decode(data: bytes) -> npt.NDArray[np.uint8]:
    """JPEG, PNG, WebP, BMP, GIF (first frame) or TIFF → uint8 [H, W, 3] RGB, upright.

    Raises:
        PhotoError: with ``status_code`` and ``reason``, as the intake of a served component does.
    """
    read_header(data)
    return decode_checked(data)
