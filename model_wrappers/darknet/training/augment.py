"""A photo, changed by chance in ways that leave its labels true: mirrored, moved, scaled, lit otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model_wrappers.darknet.letterbox import GREY, Pixels
from model_wrappers.darknet.training.errors import TrainingError
from model_wrappers.darknet.training.photos import LabelledPhoto

MAX_SCALE, MAX_SHIFT, MAX_LIGHT = 4.0, 0.5, 0.9
MIN_SIDE = 2.0  # pixels of a box that is still worth learning
MIN_LEFT = 0.4  # of a box's area, inside the frame after the move


@dataclass(frozen=True)
class Augmentation:
    """How much is left to chance.

    ``scale`` s: between 1/s and s times as large. ``shift``: share of the photo's sides. ``light``: the level of each
    colour is multiplied by 1 ± ``light`` and all of them by as much again.
    """

    mirror: bool = True
    upside_down: bool = False  # for photos that have no up, such as those of a microscope
    scale: float = 1.0
    shift: float = 0.0
    light: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (("scale", 1.0, MAX_SCALE), ("shift", 0.0, MAX_SHIFT), ("light", 0.0, MAX_LIGHT)):
            if not low <= getattr(self, name) <= high:
                raise TrainingError(f"{name}={getattr(self, name)}: {low:g} to {high:g} is possible")


MIRRORED = Augmentation()
NONE = Augmentation(mirror=False)


def augmented(photo: LabelledPhoto, kind: Augmentation, rng: np.random.Generator) -> LabelledPhoto:
    """The same generator state gives the same photo. The frame keeps its size; what is laid bare is grey."""
    height, width = photo.pixels.shape[:2]
    matrix = _placement(kind, width, height, rng)
    pixels, boxes = photo.pixels, photo.boxes
    if matrix is not None:
        pixels = _moved(pixels, matrix)
        boxes = boxes * np.tile(matrix.diagonal(), 2) + np.tile(matrix[:, 2], 2)
        boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    kept, boxes = _cut(boxes, width, height)
    if kind.light > 0:
        pixels = cv2.LUT(pixels, _levels(kind.light, rng)).astype(np.uint8, copy=False)
    return LabelledPhoto(pixels, boxes[kept], photo.classes[kept])


def _placement(kind: Augmentation, width: int, height: int, rng: np.random.Generator) -> NDArray[np.float64] | None:
    """[2, 3]: x and y of the result from those of the photo, about its middle; None where nothing moves."""
    size = float(np.exp(rng.uniform(-1, 1) * np.log(kind.scale)))
    flip_x = -1.0 if kind.mirror and rng.random() < 0.5 else 1.0
    flip_y = -1.0 if kind.upside_down and rng.random() < 0.5 else 1.0
    moved = rng.uniform(-kind.shift, kind.shift, 2) * (width, height)
    factors = np.array([flip_x * size, flip_y * size])
    offsets = np.array([width, height]) / 2 * (1 - factors) + moved
    if (factors == 1).all() and (offsets == 0).all():
        return None
    return np.concatenate([np.diag(factors), offsets[:, None]], axis=1)


def _moved(pixels: Pixels, matrix: NDArray[np.float64]) -> Pixels:
    """OpenCV counts from the middle of a pixel, boxes from its outer corner: half a pixel lies between."""
    centred = matrix.copy()
    centred[:, 2] += 0.5 * matrix.diagonal() - 0.5
    size = (pixels.shape[1], pixels.shape[0])
    result = cv2.warpAffine(
        pixels, centred, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(GREY,) * 3
    )
    return result.astype(np.uint8, copy=False)


def _cut(boxes: NDArray[np.float64], width: int, height: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Boxes cut at the frame, and which of them still show enough."""
    inside = np.clip(boxes, 0, [width, height, width, height])
    sides, whole = inside[:, 2:] - inside[:, :2], boxes[:, 2:] - boxes[:, :2]
    kept = (sides.min(axis=1, initial=np.inf) >= MIN_SIDE) & (sides.prod(axis=1) >= MIN_LEFT * whole.prod(axis=1))
    return kept, inside


def _levels(light: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """[256, 1, 3]: what each level of each colour becomes."""
    gains = rng.uniform(1 - light, 1 + light, 3) * rng.uniform(1 - light, 1 + light)
    table = np.clip(np.arange(256)[:, None] * gains, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(table[:, None, :])
