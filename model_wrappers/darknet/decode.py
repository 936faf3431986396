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
from model_wrappers.darknet.candidates import Array, Candidates, Places, collect
from model_wrappers.darknet.layers import Head, Region, Yolo
from model_wrappers.darknet.letterbox import Size

_MARGIN = 1e-3  # logits just below the threshold are still looked at: the exact comparison comes after


class _Passing(NamedTuple):
    """A head's K cells that can hold a box; ``cells`` is the whole output [anchors, 5 + classes, rows, columns]."""

    head: Head
    cells: npt.NDArray[np.float32]
    anchor: Places
    row: Places
    column: Places
    centres: Centres
    objectness: Array

    def scores(self, which: Places) -> Array:
        """Probabilities [len(which), classes] of some of the K."""
        logits = self.cells[self.anchor[which], 5:, self.row[which], self.column[which]].astype(np.float64)
        return _float32(self.objectness[which, None] * _float32(_classes(self.head, logits)))


def decode(
    heads: Sequence[Head], outputs: Sequence[npt.NDArray[np.float32]], net: Size, confidence: float
) -> Candidates:
    """All heads' raw outputs [channels, rows, columns] → candidates relative to the network's input."""
    parts = [_passing(head, output, net, confidence) for head, output in zip(heads, outputs, strict=True)]
    starts = np.cumsum([0, *(len(part.objectness) for part in parts)])
    classes = heads[0].classes

    def scores(places: Places) -> Array:
        found = np.empty((len(places), classes))
        for part, start, end in zip(parts, starts[:-1], starts[1:], strict=True):
            mine = (start <= places) & (places < end)
            found[mine] = part.scores(places[mine] - start)
        return found

    centres = np.concatenate([part.centres for part in parts])
    objectness = np.concatenate([part.objectness for part in parts])
    return collect(centres, objectness, scores, classes=classes, confidence=confidence)


def _passing(head: Head, output: npt.NDArray[np.float32], net: Size, confidence: float) -> _Passing:
    _, rows, columns = output.shape
    cells = output.reshape(len(head.anchors), 5 + head.classes, rows, columns)
    anchor, row, column = np.nonzero(cells[:, 4] > _logit(confidence) - _MARGIN)
    values = cells[anchor, :5, row, column].astype(np.float64)  # [K, 5]
    place, grid = np.stack([column, row], axis=1), np.array([columns, rows])
    centres = _centres(head, values, place, anchor, grid, net)
    return _Passing(head, cells, anchor, row, column, centres, _float32(_logistic(values[:, 4])))


def _centres(
    head: Head,
    values: Array,
    place: Places,
    anchor: Places,
    grid: npt.NDArray[np.int_],
    net: Size,
) -> Centres:
    stretch = head.scale_x_y if isinstance(head, Yolo) else 1.0
    middle = (place + _logistic(values[:, :2]) * stretch - (stretch - 1) / 2) / grid
    unit = np.array(net) if isinstance(head, Yolo) else grid  # what the anchors are measured in
    with np.errstate(over="ignore"):  # such a box is dropped by the caller
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
