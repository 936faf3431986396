"""A photo with its boxes, as a picture for people."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Sequence

import cv2
import numpy as np

from model_wrappers.darknet.boxes import Detection
from model_wrappers.darknet.labels import Rectangle, place_labels
from model_wrappers.darknet.letterbox import Pixels

Colour = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT_SCALE, _LINE = 0.5, 2


def draw(rgb: Pixels, detections: Sequence[Detection], *, max_side: int) -> Pixels:
    """uint8 [H, W, 3] RGB, shrunk to ``max_side`` and with a labelled frame per detection, the best on top."""
    scale = min(1.0, max_side / max(rgb.shape[:2]))
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    picture = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else rgb.copy(), np.uint8)
    boxes = [_rectangle(one, scale) for one in detections]
    for one, box in zip(reversed(detections), reversed(boxes), strict=True):
        cv2.rectangle(picture, (box.left, box.top), (box.right, box.bottom), colour_of(one.label), _LINE)
    _write_labels(picture, detections, boxes)
    return picture


def _rectangle(one: Detection, scale: float) -> Rectangle:
    box = one.box
    return Rectangle(*(round(edge * scale) for edge in (box.x_min, box.y_min, box.x_max, box.y_max)))


def _write_labels(picture: Pixels, detections: Sequence[Detection], boxes: Sequence[Rectangle]) -> None:
    """After all frames, so that none crosses a label."""
    texts = [f"{one.label} {one.confidence:.0%}" for one in detections]
    sizes = [cv2.getTextSize(text, _FONT, _TEXT_SCALE, 1) for text in texts]  # width and height; below the base line
    height, width = picture.shape[:2]
    places = place_labels(boxes, [(wide, high + below) for (wide, high), below in sizes], width=width, height=height)
    for one, text, (_, below), place in reversed(list(zip(detections, texts, sizes, places, strict=True))):
        corners = (place.left, place.top), (place.right, place.bottom)
        cv2.rectangle(picture, *corners, colour_of(one.label), cv2.FILLED)
        start = place.left, place.bottom - below
        cv2.putText(picture, text, start, _FONT, _TEXT_SCALE, (0, 0, 0), 1, cv2.LINE_AA)


def draw_jpeg(rgb: Pixels, detections: Sequence[Detection], *, max_side: int, quality: int) -> bytes:
    """``draw`` as a JPEG file."""
    picture = draw(rgb, detections, max_side=max_side)
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()


def colour_of(label: str) -> Colour:
    """One bright colour per label, the same everywhere: black text is legible on it."""
    hue = int.from_bytes(hashlib.sha256(label.encode()).digest()[:2], "big") / 2**16
    red, green, blue = colorsys.hls_to_rgb(hue, 0.65, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)
