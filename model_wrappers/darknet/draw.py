"""A photo with its boxes, as a picture for people."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np

from model_wrappers.darknet.boxes import Detection
from model_wrappers.darknet.letterbox import Pixels

Colour = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT_SCALE, _LINE = 0.5, 2


def draw(rgb: Pixels, detections: Sequence[Detection], *, max_side: int) -> Pixels:
    """uint8 [H, W, 3] RGB, shrunk to ``max_side`` and with a labelled frame per detection, the best on top."""
    scale = min(1.0, max_side / max(rgb.shape[:2]))
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    picture = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else rgb.copy()
    for one in reversed(detections):
        colour = colour_of(one.label)
        low = round(one.box.x_min * scale), round(one.box.y_min * scale)
        high = round(one.box.x_max * scale), round(one.box.y_max * scale)
        cv2.rectangle(picture, low, high, colour, _LINE)
        text = f"{one.label} {one.confidence:.0%}"
        (width, height), below = cv2.getTextSize(text, _FONT, _TEXT_SCALE, 1)
        top = max(low[1], height + below)
        cv2.rectangle(picture, (low[0], top - height - below), (low[0] + width, top), colour, cv2.FILLED)
        cv2.putText(picture, text, (low[0], top - below), _FONT, _TEXT_SCALE, (0, 0, 0), 1, cv2.LINE_AA)
    return np.asarray(picture, np.uint8)


def draw_jpeg(rgb: Pixels, detections: Sequence[Detection], *, max_side: int, quality: int) -> bytes:
    """``draw`` as a JPEG file."""
    picture = draw(rgb, detections, max_side=max_side)
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()


def colour_of(label: str) -> Colour:
    """One bright colour per label, the same everywhere."""
    red, green, blue = hashlib.sha256(label.encode()).digest()[:3]
    return 96 + red * 159 // 255, 96 + green * 159 // 255, 96 + blue * 159 // 255
