"""Raw heads to candidate boxes: only cells whose objectness can pass are looked at.

Formulas: pjreddie's ``yolo_layer.c`` and ``region_layer.c``; ``scale_x_y`` stretches x and y about the cell's centre
as in AlexeyAB's Darknet (pjreddie's ignores the key).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.boxes import Centres
from model_wrappers.darknet.layers import Head, Region, Yolo
from model_wrappers.darknet.letterbox import Size

MAX_CANDIDATES = 4096  # boxes that reach NMS, best objectness first
MAX_PAIRS = 8192  # pairs of box and class that reach it, most probable first; together they bound its time
MAX_EXTENT = 1e15  # of a centre or side, in pictures: a larger one is no box, and its area overflows Darknet's float32
_MARGIN = 1e-3  # logits just below the threshold are still looked at: the exact comparison comes after

Array = npt.NDArray[np.float64]


class Candidates(NamedTuple):
    """K boxes before NMS; ``probabilities`` [K, classes] is 0 where it does not exceed the confidence."""

    centres: Centres
    objectness: Array
    probabilities: Array


def decode(
    heads: Sequence[Head], outputs: Sequence[npt.NDArray[np.float32]], net: Size, confidence: float
) -> Candidates:
    """All heads' raw outputs [channels, rows, columns] → candidates relative to the network's input."""
    parts = [_decode_head(head, output, net, confidence) for head, output in zip(heads, outputs, strict=True)]
    joined = Candidates(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    usable = (np.abs(joined.centres) < MAX_EXTENT).all(axis=1) & joined.probabilities.any(axis=1)
    return best(Candidates(*(array[usable] for array in joined)))


def best(candidates: Candidates, *, boxes: int = MAX_CANDIDATES, pairs: int = MAX_PAIRS) -> Candidates:
    """The ``boxes`` candidates with the highest objectness, in their old order, and of those the ``pairs`` best classes."""
    if len(candidates.objectness) > boxes:
        kept = np.sort(np.argsort(-candidates.objectness, kind="stable")[:boxes])
        candidates = Candidates(*(array[kept] for array in candidates))
    probabilities = candidates.probabilities
    if np.count_nonzero(probabilities) > pairs:
        weakest = np.argsort(-probabilities, axis=None, kind="stable")[pairs:]
        probabilities = probabilities.copy()
        probabilities.flat[weakest] = 0
    return candidates._replace(probabilities=probabilities)


def _decode_head(head: Head, output: npt.NDArray[np.float32], net: Size, confidence: float) -> Candidates:
    _, rows, columns = output.shape
    cells = output.reshape(len(head.anchors), 5 + head.classes, rows, columns)
    anchor, row, column = np.nonzero(cells[:, 4] > _logit(confidence) - _MARGIN)
    values = cells[anchor, :, row, column].astype(np.float64)  # [K, 5 + classes]
    objectness = _float32(_logistic(values[:, 4]))
    probabilities = _float32(objectness[:, None] * _float32(_classes(head, values[:, 5:])))
    probabilities[~(probabilities > confidence)] = 0
    place, grid = np.stack([column, row], axis=1), np.array([columns, rows])
    return Candidates(_centres(head, values, place, anchor, grid, net), objectness, probabilities)


def _centres(
    head: Head,
    values: Array,
    place: npt.NDArray[np.intp],
    anchor: npt.NDArray[np.intp],
    grid: npt.NDArray[np.int_],
    net: Size,
) -> Centres:
    stretch = head.scale_x_y if isinstance(head, Yolo) else 1.0
    middle = (place + _logistic(values[:, :2]) * stretch - (stretch - 1) / 2) / grid
    unit = np.array(net) if isinstance(head, Yolo) else grid  # what the anchors are measured in
    with np.errstate(over="ignore"):  # such a side is dropped by the caller
        sides = np.exp(values[:, 2:4]) * np.array(head.anchors)[anchor] / unit
    return np.concatenate([middle, sides], axis=1)


def _classes(head: Head, logits: Array) -> Array:
    if not (isinstance(head, Region) and head.softmax):
        return _logistic(logits)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax: Array = powers / powers.sum(axis=1, keepdims=True)
    return softmax


def _logistic(values: Array) -> Array:
    with np.errstate(over="ignore"):  # exp(large) = inf gives the right 0
        result: Array = 1 / (1 + np.exp(-values))
    return result


def _float32(values: Array) -> Array:
    """Darknet keeps every activation in float32; comparing there decides ties as it does."""
    return values.astype(np.float32).astype(np.float64)


def _logit(confidence: float) -> float:
    if confidence <= 0:
        return -math.inf
    return math.inf if confidence >= 1 else math.log(confidence / (1 - confidence))
