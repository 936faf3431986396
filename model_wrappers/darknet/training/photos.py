"""Photos whose boxes people know, as a training reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model_wrappers.darknet.letterbox import Pixels, Size, letterbox, place


@dataclass(frozen=True, eq=False)
class LabelledPhoto:
    """``pixels`` uint8 [H, W, 3] RGB; ``boxes`` float [n, 4] corners in its pixels; ``classes`` [n] numbers from 0."""

    pixels: Pixels
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]


class PhotoSet(Protocol):
    """A numbered set of photos; reading one again gives the same one.

    ``fingerprint`` changes when any photo, box or name does: a checkpoint goes on only with the set it was made with.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def fingerprint(self) -> str: ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> LabelledPhoto: ...


def letterboxed(photo: LabelledPhoto, net: Size) -> LabelledPhoto:
    """As the served network sees the photo, its boxes moved along (``letterbox`` and ``place`` are Darknet's)."""
    size = Size(photo.pixels.shape[1], photo.pixels.shape[0])
    placement = place(size, net)
    scale = np.array([placement.width / size.width, placement.height / size.height] * 2)
    shift = np.array([placement.left, placement.top] * 2)
    return LabelledPhoto(letterbox(photo.pixels, net), photo.boxes * scale + shift, photo.classes)
