"""Boxes drawn into a picture: a frame and a label each, for the reports of models and for the client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from model_wrappers.labels import Rectangle, colour_of, place_labels

_FONT, _TEXT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.25
"""The text's scale is for lines of one pixel."""


@dataclass(frozen=True)
class Framed:
    """One box: its place in the picture, its label, which has a colour, and what is written above it."""

    box: Rectangle
    label: str
    text: str


def draw_frames(picture: npt.NDArray[np.uint8], found: Sequence[Framed], *, line: int) -> None:
    """Draw into ``picture`` (uint8 [H, W, 3] RGB) with lines of ``line`` pixels, the first on top.

    Frames first, then labels, so that no frame crosses one.
    """
    for one in reversed(found):
        corners = (one.box.left, one.box.top), (one.box.right, one.box.bottom)
        cv2.rectangle(picture, *corners, colour_of(one.label), line)
    sizes = [_text_size(one.text, line) for one in found]
    height, width = picture.shape[:2]
    boxes = [one.box for one in found]
    places = place_labels(boxes, [(wide, high + below) for wide, high, below in sizes], width=width, height=height)
    for one, (_, _, below), place in reversed(list(zip(found, sizes, places, strict=True))):
        corners = (place.left, place.top), (place.right, place.bottom)
        cv2.rectangle(picture, *corners, colour_of(one.label), cv2.FILLED)
        start = place.left, place.bottom - below
        cv2.putText(picture, one.text, start, _FONT, _TEXT_SCALE * line, (0, 0, 0), _stroke(line), cv2.LINE_AA)


def _text_size(text: str, line: int) -> tuple[int, int, int]:
    """Width, height above the base line, height below it."""
    (width, height), below = cv2.getTextSize(text, _FONT, _TEXT_SCALE * line, _stroke(line))
    return width, height, below


def _stroke(line: int) -> int:
    return max(1, line // 2)
