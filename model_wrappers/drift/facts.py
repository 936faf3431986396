"""What is looked at of one photo and its detections."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from model_wrappers.darknet.boxes import Detection
from model_wrappers.darknet.letterbox import Pixels, Size, place

MAX_DETECTIONS = 100  # of one photo: the most confident ones
LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue: Rec. ITU-R BT.601


@dataclass(frozen=True)
class Seen:
    """One detection: its class, confidence (0 to 1), and side: the square root of the box's share of the photo (0 to 1)."""

    label: str
    confidence: float
    side: float


def seen(detections: Iterable[Detection], photo: Size, *, above: float) -> tuple[Seen, ...]:
    """The most confident detections of a photo that are above a confidence."""
    kept = sorted((one for one in detections if one.confidence > above), key=lambda one: -one.confidence)
    return tuple(Seen(one.label, one.confidence, _side(one, photo)) for one in kept[:MAX_DETECTIONS])


def _side(one: Detection, photo: Size) -> float:
    """Of the part of the box within the photo: raw boxes may reach over its border."""
    width = min(one.box.x_max, photo.width) - max(one.box.x_min, 0.0)
    height = min(one.box.y_max, photo.height) - max(one.box.y_min, 0.0)
    return math.sqrt(max(width, 0.0) * max(height, 0.0) / (photo.width * photo.height))


def brightness(pixels: Pixels, photo: Size) -> float:
    """Mean luma, 0 to 255, of a letterboxed photo [H, W, 3] of original size ``photo``, without the grey bars."""
    where = place(photo, Size(pixels.shape[1], pixels.shape[0]))
    inside = pixels[where.top : where.top + where.height, where.left : where.left + where.width]
    return float(inside.reshape(-1, 3).mean(axis=0) @ LUMA)
