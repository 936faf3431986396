"""A photo scaled into the network's input with grey bars, by pjreddie's ``letterbox_image`` and ``resize_image``.

Bilinear with the corners of both pictures on each other: column c of the result lies at c * (W - 1) / (w - 1) of the
photo. Weights are float32 as in Darknet, including its last row, which its own rounding can darken.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.errors import InputError

Pixels = npt.NDArray[np.uint8]

GREY = 128  # round(255 * 0.5)
GEOMETRY_CACHE = 64  # distinct photo sizes whose places and weights are kept: about 100 bytes per pixel of a side
STRIP_LEVELS = 1 << 16  # levels mixed at a time: a strip's float32 rows stay in the processor's cache

_SIZE = re.compile(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", re.ASCII)


class Size(NamedTuple):
    """Pixels across and down."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def parse_size(name: str, text: str) -> Size:
    """``WIDTHxHEIGHT``, each of 1 to 9999 pixels. Raises ``ValueError`` that begins with ``name``."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{name}={text!r}: WIDTHxHEIGHT is expected, e.g. 416x416")
    return Size(int(match[1]), int(match[2]))


class Placement(NamedTuple):
    """Where the scaled photo lies inside the network's input."""

    width: int
    height: int
    left: int
    top: int


class _Axis(NamedTuple):
    """For each place along one axis: two source places and the weight of each (float32)."""

    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    first_weight: npt.NDArray[np.float32]
    second_weight: npt.NDArray[np.float32]


def place(photo: Size, net: Size) -> Placement:
    """Size and corner of a letterboxed photo; integer divisions as in Darknet, never below one pixel."""
    if np.float32(net.width) / np.float32(photo.width) < np.float32(net.height) / np.float32(photo.height):
        width, height = net.width, max(1, photo.height * net.width // photo.width)
    else:
        width, height = max(1, photo.width * net.height // photo.height), net.height
    return Placement(width, height, (net.width - width) // 2, (net.height - height) // 2)


def letterbox(rgb: Pixels, net: Size) -> Pixels:
    """uint8 [H, W, 3] → uint8 [net.height, net.width, 3]. Raises ``InputError`` for another type or shape."""
    check_pixels(rgb)
    placement = place(Size(rgb.shape[1], rgb.shape[0]), net)
    boxed = np.full((net.height, net.width, 3), GREY, np.uint8)
    rows = slice(placement.top, placement.top + placement.height)
    columns = slice(placement.left, placement.left + placement.width)
    resize_into(boxed[rows, columns], rgb)
    return boxed


def resize_into(target: Pixels, rgb: Pixels) -> None:
    """Fill ``target`` [h, w, 3] with ``rgb`` [H, W, 3] by Darknet's bilinear rule, rounded to grey levels."""
    height, width, _ = target.shape
    if target.shape == rgb.shape:
        target[:] = rgb
        return
    across, down = _level_axis(rgb.shape[1], width), _axis(rgb.shape[0], height, darken_last=True)
    flat = rgb.reshape(rgb.shape[0], -1)  # whole rows of levels: each step below runs along contiguous memory
    step = max(1, STRIP_LEVELS // (3 * width))
    for top in range(0, height, step):
        strip = slice(top, top + step)
        mixed = _mix_columns(flat[down.first[strip]], across) * down.first_weight[strip, None]
        mixed += _mix_columns(flat[down.second[strip]], across) * down.second_weight[strip, None]
        target[strip] = np.rint(mixed, out=mixed).reshape(-1, width, 3)


def check_pixels(rgb: npt.NDArray[np.generic]) -> None:
    """Refuse anything but uint8 [H, W, 3] with at least one pixel."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise InputError(f"uint8 [height, width, 3] is expected, found {rgb.dtype} {list(rgb.shape)}")


def _mix_columns(rows: Pixels, across: _Axis) -> npt.NDArray[np.float32]:
    """uint8 [h, W * 3] → float32 [h, w * 3]."""
    first = rows.take(across.first, axis=1, mode="clip")  # take keeps rows contiguous, an index does not
    second = rows.take(across.second, axis=1, mode="clip")
    mixed = np.multiply(first, across.first_weight, dtype=np.float32)
    mixed += np.multiply(second, across.second_weight, dtype=np.float32)
    return mixed


@lru_cache(maxsize=GEOMETRY_CACHE)
def _level_axis(source: int, target: int) -> _Axis:
    """Columns, as places of the red, green and blue level of each in a flat row."""
    columns = _axis(source, target, darken_last=False)
    first, second = ((pixels[:, None] * 3 + np.arange(3)).ravel() for pixels in columns[:2])
    return _Axis(first, second, np.repeat(columns.first_weight, 3), np.repeat(columns.second_weight, 3))


@lru_cache(maxsize=GEOMETRY_CACHE)
def _axis(source: int, target: int, *, darken_last: bool) -> _Axis:
    """``resize_image``: the last column copies its source; the last row keeps only its first weight."""
    scale = np.float32(source - 1) / np.float32(target - 1) if target > 1 else np.float32(0)
    position = np.arange(target, dtype=np.float32) * scale
    first = position.astype(np.intp)
    second_weight = position - first.astype(np.float32)
    first_weight = np.float32(1) - second_weight
    second_weight[-1] = 0
    if not darken_last or source == 1 or target == 1:
        first[-1], first_weight[-1] = source - 1 if target > 1 else 0, 1
    return _Axis(first, np.minimum(first + 1, source - 1), first_weight, second_weight)
