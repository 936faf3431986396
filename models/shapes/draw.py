"""Draw photos of shapes with their boxes: the same seed gives the same pixels."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model_wrappers.darknet.letterbox import Pixels
from model_wrappers.darknet.training.photos import LabelledPhoto

WIDTH, HEIGHT = 256, 192
CLASSES = tuple((Path(__file__).parent / "shapes.names").read_text().split())
MIN_RADIUS, MAX_RADIUS = 9, 48
MAX_SHAPES = 5
MAX_OVERLAP = 0.15  # of the smaller box


def draw(seed: int) -> LabelledPhoto:
    """One to ``MAX_SHAPES`` rotated shapes on a noisy gradient, some of them dim, all of them blurred a little."""
    rng = np.random.default_rng(seed)
    pixels = _background(rng)
    boxes: list[tuple[float, float, float, float]] = []
    classes: list[int] = []
    for _ in range(int(rng.integers(1, MAX_SHAPES + 1))):
        kind = int(rng.integers(len(CLASSES)))
        outline = _outline(CLASSES[kind], rng)
        box = (*outline.min(axis=0), *outline.max(axis=0))
        if any(_overlap(box, other) > MAX_OVERLAP for other in boxes):
            continue
        cv2.fillPoly(pixels, [np.round(outline).astype(np.int32)], _colour(rng, pixels, outline), cv2.LINE_AA)
        boxes.append(box)
        classes.append(kind)
    blurred = cv2.GaussianBlur(pixels, (3, 3), float(rng.uniform(0.3, 1.2)))
    noise = rng.normal(0, float(rng.uniform(2, 12)), pixels.shape)
    noisy = np.clip(blurred + noise, 0, 255).astype(np.uint8)
    return LabelledPhoto(noisy, np.array(boxes, dtype=np.float64).reshape(-1, 4), np.array(classes, dtype=np.int64))


def _background(rng: np.random.Generator) -> Pixels:
    corners = rng.uniform(20, 235, (2, 2, 3)).astype(np.float32)
    return cv2.resize(corners, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def _colour(rng: np.random.Generator, pixels: Pixels, outline: NDArray[np.float64]) -> tuple[float, ...]:
    """A colour that differs from what is behind it by at least 45 levels in some channel."""
    x, y = np.clip(outline.mean(axis=0).astype(int), 0, (WIDTH - 1, HEIGHT - 1))
    behind = pixels[y, x].astype(float)
    while True:
        colour = rng.uniform(0, 255, 3)
        if np.abs(colour - behind).max() >= 45:
            return tuple(float(value) for value in colour)


def _outline(kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Corners [k, 2] of one shape inside the photo."""
    radius = float(rng.uniform(MIN_RADIUS, MAX_RADIUS))
    centre = rng.uniform((radius, radius), (WIDTH - radius, HEIGHT - radius))
    turn = float(rng.uniform(0, 2 * math.pi))
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return np.asarray(centre + radius * _UNIT[kind] @ rotation)


def _regular(sides: int) -> NDArray[np.float64]:
    angles = 2 * np.pi * np.arange(sides) / sides
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _cross() -> NDArray[np.float64]:
    arm, reach = 0.28, 0.96
    quarter = [(reach, -arm), (reach, arm), (arm, arm)]
    turns = [((1, 0), (0, 1)), ((0, -1), (1, 0)), ((-1, 0), (0, -1)), ((0, 1), (-1, 0))]
    return np.array([np.array(turn) @ np.array(point) for turn in turns for point in quarter])


_UNIT = {"circle": _regular(48), "square": _regular(4), "triangle": _regular(3), "cross": _cross()}


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Common area over the smaller box's."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(width, 0) * max(height, 0) / smaller
