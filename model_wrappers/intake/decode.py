"""An encoded photo → RGB pixels. Runs only inside the decoder process."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model_wrappers.darknet.letterbox import Size, letterbox
from model_wrappers.intake.errors import IMAGE_UNDECODABLE, PhotoError
from model_wrappers.intake.orientation import stored_orientation, turned
from model_wrappers.intake.request import Preparation

Pixels = NDArray[np.uint8]
BACKDROP = 255  # what shows through transparent pixels: white, as on a page
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], dtype=np.float32) / 13  # Pillow's SMOOTH, for the same sharpness


def decode(photo: bytes) -> Pixels:
    """uint8 [H, W, 3] RGB, upright. Grey, palette, alpha, 16-bit and CMYK photos come out as they look."""
    encoded = np.frombuffer(photo, dtype=np.uint8)
    may_be_clear = photo.startswith((b"\x89PNG", b"RIFF", b"GIF8", b"II*\0", b"MM\0*"))
    try:
        pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED if may_be_clear else cv2.IMREAD_COLOR_RGB)
    except cv2.error as exc:
        raise PhotoError(IMAGE_UNDECODABLE, f"The photo cannot be decoded: {exc.err}.") from exc
    if pixels is None:
        raise PhotoError(IMAGE_UNDECODABLE, "The photo cannot be decoded: its data does not match its header.")
    if not may_be_clear:
        return pixels.astype(np.uint8, copy=False)  # IMREAD_COLOR_RGB: eight bits, three channels, upright
    return _rgb(turned(_eight_bits(pixels), stored_orientation(photo)))


def _eight_bits(pixels: NDArray[Any]) -> Pixels:
    if pixels.dtype == np.uint16:
        high_bytes: Pixels = (pixels >> 8).astype(np.uint8)
        return high_bytes
    if pixels.dtype != np.uint8:
        raise PhotoError(IMAGE_UNDECODABLE, f"The photo's samples are {pixels.dtype}; 8 and 16 bits are read.")
    return pixels.astype(np.uint8, copy=False)


def _rgb(pixels: Pixels) -> Pixels:
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels == 1:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)
    if channels == 2:
        grey, alpha = pixels[..., :1], pixels[..., 1:]
        return np.repeat(_over_backdrop(grey, alpha), 3, axis=2)
    if channels == 4:
        return _over_backdrop(pixels[..., 2::-1], pixels[..., 3:])
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _over_backdrop(colour: Pixels, alpha: Pixels) -> Pixels:
    if alpha.min() == 255:
        return np.ascontiguousarray(colour)
    share = alpha.astype(np.uint16)
    blended = (colour * share + BACKDROP * (255 - share) + 127) // 255
    return blended.astype(np.uint8)


def prepare(photo: bytes, preparation: Preparation) -> tuple[tuple[int, int], Pixels]:
    """Decode, then what ``preparation`` asks. Returns the photo's own (width, height) and the pixels."""
    pixels = decode(photo)
    size = (pixels.shape[1], pixels.shape[0])
    if preparation.sharpness != 1.0:
        pixels = sharpen(pixels, preparation.sharpness)
    if preparation.jpeg_quality:
        pixels = _reencode(pixels, preparation.jpeg_quality)
    if preparation.width:
        pixels = letterbox(pixels, Size(preparation.width, preparation.height))
    return size, pixels


def sharpen(pixels: Pixels, factor: float) -> Pixels:
    """Away from (above 1) or towards (below 1) a smoothed copy, edges untouched: Pillow's ImageEnhance.Sharpness."""
    smooth = cv2.filter2D(pixels, -1, _SMOOTH).astype(np.float32)
    smooth[[0, -1]], smooth[:, [0, -1]] = pixels[[0, -1]], pixels[:, [0, -1]]
    return np.clip(smooth + (pixels - smooth) * factor, 0, 255).astype(np.uint8)


def _reencode(pixels: Pixels, quality: int) -> Pixels:
    ok, encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise PhotoError(IMAGE_UNDECODABLE, "The photo could not be encoded again as JPEG.")
    return decode(encoded.tobytes())
