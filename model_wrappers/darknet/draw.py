"""A photo with its boxes, as a picture for people."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from model_wrappers.darknet.boxes import Detection
from model_wrappers.darknet.letterbox import Pixels
from model_wrappers.frames import Framed, draw_frames
from model_wrappers.labels import Rectangle

_LINE = 2


def draw(rgb: Pixels, detections: Sequence[Detection], *, max_side: int) -> Pixels:
    """uint8 [H, W, 3] RGB, shrunk to ``max_side`` and with a labelled frame per detection, the best on top."""
    scale = min(1.0, max_side / max(rgb.shape[:2]))
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    picture = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else rgb.copy(), np.uint8)
    framed = [Framed(_rectangle(one, scale), one.label, f"{one.label} {one.confidence:.0%}") for one in detections]
    draw_frames(picture, framed, line=_LINE)
    return picture


def _rectangle(one: Detection, scale: float) -> Rectangle:
    box = one.box
    return Rectangle(*(round(edge * scale) for edge in (box.x_min, box.y_min, box.x_max, box.y_max)))


def draw_jpeg(rgb: Pixels, detections: Sequence[Detection], *, max_side: int, quality: int) -> bytes:
    """``draw`` as a JPEG file."""
    picture = draw(rgb, detections, max_side=max_side)
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()
