"""A photo with its boxes, as a picture for people. The only part of the client that needs OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from model_wrappers.frames import Framed, draw_frames
from model_wrappers.labels import Rectangle
from slipway.client.detections import Detection, Detections
from slipway.client.errors import InvalidPhoto
from slipway.client.photo import Photo, Pixels, encode_photo, encode_png

MIN_SIDE = 640
"""A smaller photo is enlarged by whole factors, so that labels can be read."""
MAX_LABEL_CHARS = 80
"""Drawn of one label."""
FARTHEST = 1e6
"""Pixels from the corner at which a line of a box is drawn at most."""


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
    if max_side is not None and max_side < 1:
        raise ValueError(f"max_side={max_side}: pixels, 1 or more, are expected")
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
    texts = [f"{one.label[:MAX_LABEL_CHARS]} {one.confidence:.0%}" for one in found]
    framed = [Framed(_rectangle(one, scale), one.label, text) for one, text in zip(found, texts, strict=True)]
    draw_frames(picture, framed, line=line)
    return picture


def _rectangle(one: Detection, scale: float) -> Rectangle:
    box = one.box
    return Rectangle(*(_place(edge * scale) for edge in (box.x_min, box.y_min, box.x_max, box.y_max)))


def _place(pixels: float) -> int:
    """A whole coordinate that OpenCV takes, also far outside of the picture."""
    return round(min(max(pixels, -FARTHEST), FARTHEST))
