"""The labels of boxes in a picture: where they go, so that each can be read, and their colours."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]
"""Levels of red, green and blue."""


@dataclass(frozen=True)
class Rectangle:
    """Whole pixels; ``right`` and ``bottom`` are the first outside."""

    left: int
    top: int
    right: int
    bottom: int

    def shared(self, others: npt.NDArray[np.int64]) -> int:
        """Pixels that it has in common with each of ``others`` [n, 4], summed."""
        low = np.maximum((self.left, self.top), others[:, :2])
        high = np.minimum((self.right, self.bottom), others[:, 2:])
        return int((high - low).clip(min=0).prod(axis=1).sum())


def place_labels(
    boxes: Sequence[Rectangle], sizes: Sequence[tuple[int, int]], *, width: int, height: int
) -> list[Rectangle]:
    """A place for each box's label of ``(width, height)`` in a picture of that size; the first boxes choose first.

    A label goes above its box; where another one is already, to the next place at the box that is free; where none is,
    to the one that covers least.
    """
    placed: list[Rectangle] = []
    edges = np.zeros((len(boxes), 4), np.int64)
    for number, (box, size) in enumerate(zip(boxes, sizes, strict=True)):
        places = (_inside(place, width, height) for place in _places(box, *size))
        covered = [(place.shared(edges[:number]), place) for place in places]
        best = min(covered, key=lambda one: one[0])[1]  # of equal ones the first
        edges[number] = best.left, best.top, best.right, best.bottom
        placed.append(best)
    return placed


def colour_of(label: str) -> Colour:
    """One bright colour per label, the same everywhere: black text is legible on it."""
    hue = int.from_bytes(hashlib.sha256(label.encode()).digest()[:2], "big") / 2**16
    red, green, blue = colorsys.hls_to_rgb(hue, 0.65, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _places(box: Rectangle, width: int, height: int) -> Iterator[Rectangle]:
    """Above, below, inside at the top and at the bottom, each at the left and at the right; then a line higher."""
    for top in (box.top - height, box.bottom, box.top, box.bottom - height, box.top - 2 * height):
        for left in (box.left, box.right - width):
            yield Rectangle(left, top, left + width, top + height)


def _inside(place: Rectangle, width: int, height: int) -> Rectangle:
    """Moved into the picture; one that is larger begins at its corner."""
    right = max(min(place.left, width - (place.right - place.left)), 0) - place.left
    down = max(min(place.top, height - (place.bottom - place.top)), 0) - place.top
    return Rectangle(place.left + right, place.top + down, place.right + right, place.bottom + down)
