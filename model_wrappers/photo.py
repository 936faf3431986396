"""An encoded photo to RGB pixels."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from model_wrappers.errors import ComponentError

MAX_PHOTO_BYTES = 8 << 20
MAX_PIXELS = 50_000_000

# OpenCV compares the header's size with this before it allocates the picture; it reads the variable once, at import.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2  # noqa: E402  - after its limit


def decode(data: bytes) -> npt.NDArray[np.uint8]:
    """JPEG, PNG, … → uint8 [H, W, 3] RGB, turned as its EXIF orientation says.

    Raises:
        ComponentError: 413 ``IMAGE_TOO_LARGE`` above 8 MiB, 400 ``IMAGE_UNDECODABLE`` for anything that is no whole photo
            of at most 50 megapixels.
    """
    if len(data) > MAX_PHOTO_BYTES:
        message = f"the photo has {len(data)} bytes: at most {MAX_PHOTO_BYTES} are taken"
        raise ComponentError(message, reason="IMAGE_TOO_LARGE", status_code=413)
    try:
        rgb = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    except cv2.error as exc:
        raise ComponentError(f"the photo cannot be decoded: {exc}", reason="IMAGE_UNDECODABLE") from exc
    if rgb is None:
        raise ComponentError("the bytes are no photo that can be decoded", reason="IMAGE_UNDECODABLE")
    return rgb.astype(np.uint8, copy=False)
