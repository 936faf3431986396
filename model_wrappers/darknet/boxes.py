"""Boxes: centres relative to the network's input, then to the photo, then corners in pixels of the photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.letterbox import Size, place

Centres = npt.NDArray[np.float64]  # [K, 4]: x, y of the centre, width, height; 1 = the picture's whole side

BOX_DECIMALS = 2  # of a pixel
CONFIDENCE_DECIMALS = 4


@dataclass(frozen=True)
class Box:
    """Corners in pixels of the original photo; (0, 0) is the outer corner of its first pixel."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True)
class Detection:
    """One class of one box."""

    label: str
    class_id: int
    confidence: float
    box: Box

    def to_json(self) -> dict[str, Any]:
        """The form of the reply: confidence to four decimals, corners to hundredths of a pixel."""
        sides = ("x_min", "y_min", "x_max", "y_max")
        return {
            "label": self.label,
            "class_id": self.class_id,
            "confidence": round(self.confidence, CONFIDENCE_DECIMALS),
            "box": {side: round(getattr(self.box, side), BOX_DECIMALS) for side in sides},
        }


def to_photo(centres: Centres, photo: Size, net: Size) -> Centres:
    """Undo the letterbox (``correct_yolo_boxes``): relative to the network's input → relative to the photo."""
    placement = place(photo, net)
    scale = np.array([placement.width / net.width, placement.height / net.height])
    shift = np.array([(net.width - placement.width) / 2 / net.width, (net.height - placement.height) / 2 / net.height])
    return np.concatenate([(centres[:, :2] - shift) / scale, centres[:, 2:] / scale], axis=1)


def to_corners(centres: Centres, photo: Size, *, clip: bool) -> Centres:
    """Relative centres → [K, 4] x_min, y_min, x_max, y_max in pixels, clipped to the photo if asked."""
    sides = np.array([photo.width, photo.height], np.float64)
    middle, half = centres[:, :2] * sides, centres[:, 2:] * sides / 2
    corners = np.concatenate([middle - half, middle + half], axis=1)
    return np.clip(corners, 0, np.tile(sides, 2)) if clip else corners


def iou(some: Centres, others: Centres) -> npt.NDArray[np.float64]:
    """Intersection over union of boxes [..., 4] with others [..., 4], broadcast; 0 where the union is empty."""
    shared = _shared_length(some, others, 0) * _shared_length(some, others, 1)
    union = some[..., 2] * some[..., 3] + others[..., 2] * others[..., 3] - shared
    ratio: npt.NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def _shared_length(some: Centres, others: Centres, axis: int) -> npt.NDArray[np.float64]:
    half, other_half = some[..., axis + 2] / 2, others[..., axis + 2] / 2
    low = np.maximum(some[..., axis] - half, others[..., axis] - other_half)
    high = np.minimum(some[..., axis] + half, others[..., axis] + other_half)
    length: npt.NDArray[np.float64] = np.maximum(high - low, 0)
    return length
