"""Drawn photos as a training reads them."""

from __future__ import annotations

from dataclasses import dataclass

from model_wrappers.darknet.training.errors import TrainingError
from model_wrappers.darknet.training.photos import LabelledPhoto
from models.shapes.draw import CLASSES, draw

HELD_OUT = 10_000_000  # first seed of photos that no training sees: those draw from 0 up


@dataclass(frozen=True)
class DrawnShapes:
    """``photos`` of them, of the seeds from ``first`` on."""

    photos: int
    first: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.photos <= HELD_OUT:  # more would be some of those that are held out
            raise TrainingError(f"{self.photos} photos: 0 to {HELD_OUT} are possible")

    @property
    def names(self) -> tuple[str, ...]:
        return CLASSES

    @property
    def fingerprint(self) -> str:
        return f"shapes:{self.first}:{self.photos}"

    def __len__(self) -> int:
        return self.photos

    def read(self, index: int) -> LabelledPhoto:
        if not 0 <= index < self.photos:
            raise IndexError(f"photo {index} of {self.photos}")
        return draw(self.first + index)
