"""A photo with its boxes, as a picture for people. The only part of the client that needs OpenCV."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from slipway.client.detections import Detection, Detections
from slipway.client.errors import InvalidPhoto
from slipway.client.photo import Photo, Pixels, encode_photo, encode_png

MIN_SIDE = 640
"""A smaller photo is enlarged by whole factors, so that labels can be read."""
MAX_LABEL_CHARS = 80
"""Drawn of one label."""
FARTHEST = 1e6
"""Pixels from the corner at which a line of a box is drawn at most."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Picture:
    """``pixels``: uint8 [H, W, 3], red first. A notebook shows it as it is; so does ``plt.imshow``."""

    pixels: Pixels

    @property
    def png(self) -> bytes:
        return encode_png(self.pixels)

    def save(self, path: str | Path) -> None:
        """Write it in the format that the name's ending says (.png, .jpg, …)."""
        ending = Path(path).suffix
        if not cv2.haveImageWriter(f"picture{ending}"):
            raise ValueError(f"{path}: no format that OpenCV writes: expected .png, .jpg, …")
        _, encoded = cv2.imencode(ending, self.pixels[..., ::-1])
        Path(path).write_bytes(encoded.tobytes())

    def _repr_png_(self) -> bytes:
        return self.png

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.pixels, dtype=dtype, copy=True if copy is None else copy)


def draw(photo: Photo, detections: Detections, *, max_side: int | None = None) -> Picture:
    """The photo with a labelled frame per detection, the most confident on top, at most ``max_side`` pixels a side."""
    rgb = decode_photo(photo)
    size = detections.photo
    if size is not None and (size.width, size.height) != (rgb.shape[1], rgb.shape[0]):
        raise InvalidPhoto(
            f"the photo is {rgb.shape[1]}x{rgb.shape[0]}, the detections are of one of {size.width}x{size.height}"
        )
    scale = _scale(rgb, max_side)
    return Picture(_framed(_resized(rgb, scale), detections.found, scale=scale))


def decode_photo(photo: Photo) -> Pixels:
    """Pixels uint8 [H, W, 3], red first, upright as EXIF says."""
    if isinstance(photo, np.ndarray):
        encode_png(photo[:1])  # its kind is checked as for sending
        return photo.astype(np.uint8)
    decoded = cv2.imdecode(np.frombuffer(encode_photo(photo), np.uint8), cv2.IMREAD_COLOR_RGB)
    if decoded is None:
        raise InvalidPhoto("OpenCV cannot decode the photo")
    return np.asarray(decoded, np.uint8)


def _scale(rgb: Pixels, max_side: int | None) -> float:
    longest = int(max(rgb.shape[:2]))
    if max_side is not None and longest > max_side:
        return max_side / longest
    enlarged = max(1, MIN_SIDE // longest)
    return float(enlarged if max_side is None else max(1, min(enlarged, max_side // longest)))


def _resized(rgb: Pixels, scale: float) -> Pixels:
    if scale == 1:
        return rgb.copy()
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, size, interpolation=kind), np.uint8)


def _framed(picture: Pixels, found: Sequence[Detection], *, scale: float) -> Pixels:
    line = max(2, round(max(picture.shape[:2]) / 400))
    for one in reversed(found):
        colour = colour_of(one.label)
        low = _place(one.box.x_min * scale), _place(one.box.y_min * scale)
        high = _place(one.box.x_max * scale), _place(one.box.y_max * scale)
        cv2.rectangle(picture, low, high, colour, line)
        _label(picture, f"{one.label[:MAX_LABEL_CHARS]} {one.confidence:.0%}", low, colour, line)
    return picture


def _place(pixels: float) -> int:
    """A whole coordinate that OpenCV takes, also far outside of the picture."""
    return round(min(max(pixels, -FARTHEST), FARTHEST))


def _label(picture: Pixels, text: str, corner: tuple[int, int], colour: tuple[int, int, int], line: int) -> None:
    size = 0.25 * line
    (width, height), below = cv2.getTextSize(text, _FONT, size, max(1, line // 2))
    left = min(max(corner[0], 0), max(picture.shape[1] - width, 0))
    bottom = max(corner[1], height + below)
    cv2.rectangle(picture, (left, bottom - height - below), (left + width, bottom), colour, cv2.FILLED)
    cv2.putText(picture, text, (left, bottom - below), _FONT, size, (0, 0, 0), max(1, line // 2), cv2.LINE_AA)


def colour_of(label: str) -> tuple[int, int, int]:
    """One bright colour per label, the same everywhere."""
    red, green, blue = hashlib.sha256(label.encode()).digest()[:3]
    return 96 + red * 159 // 255, 96 + green * 159 // 255, 96 + blue * 159 // 255
