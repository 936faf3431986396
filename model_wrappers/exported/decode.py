"""The outputs of an exported graph as candidates: centres as shares of the input's sides, scores by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.boxes import Centres
from model_wrappers.darknet.candidates import MAX_CANDIDATES, Array, Candidates, Places, Scores, collect
from model_wrappers.darknet.letterbox import Size
from model_wrappers.darknet.shapes import BOX_ENTRIES
from model_wrappers.exported.layout import Layout

MAX_SCORE = 1.001  # what rounding makes of 1; more is no share: the export lacks its sigmoid or softmax

FAR_SHARE = 4.0  # a median box this many input sides away is in pixels

Tensor = npt.NDArray[np.generic]


class _Boxes(NamedTuple):
    """K boxes that can pass; ``scores`` gives the [n, classes] of n of them."""

    centres: Centres
    objectness: Array
    scores: Scores


def decode(layout: Layout, outputs: Mapping[str, object], net: Size, classes: int, confidence: float) -> Candidates:
    """``outputs`` by name. Raises ``ValueError`` naming the shape that the family has and the one that was found."""
    read = _ssd if layout.family == "ssd" else _yolo
    found = read(layout, outputs, net, classes, confidence)
    boxes = np.flatnonzero((found.centres[:, 2:] > 0).all(axis=1))

    def scores(places: Places) -> Array:
        return np.minimum(found.scores(boxes[places]), 1)

    return collect(found.centres[boxes], found.objectness[boxes], scores, classes=classes, confidence=confidence)


def check_boxes(layout: Layout, outputs: Mapping[str, object]) -> None:
    """What the boxes of any photo say about the layout's ``unit`` and ``boxes``: a wrong one would find nothing, for ever.

    Raises ``ValueError`` with the line that was probably meant.
    """
    if layout.family != "ssd":
        return
    rows = _rows(outputs, layout.outputs.boxes, "[1, N, 4]", 4).astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1) & rows.any(axis=1)]  # some exports fill up with zeros
    if not len(rows):
        return
    far = float(np.median(np.abs(rows).max(axis=1)))
    if layout.unit == "share" and far > FAR_SHARE:
        raise ValueError(f"has boxes that reach to {far:.0f}, by median: these are no shares; is `unit: pixel` meant?")
    if layout.unit == "pixel" and float(np.abs(rows).max()) <= 1:
        raise ValueError("has boxes of one pixel at most: these are shares; is `unit: share` meant?")
    if layout.boxes != "centre" and np.mean((rows[:, 2:] < rows[:, :2]).any(axis=1)) > 0.5:
        raise ValueError("has boxes that mostly end before they begin: these are no corners; is `boxes: centre` meant?")


def _yolo(layout: Layout, outputs: Mapping[str, object], net: Size, classes: int, confidence: float) -> _Boxes:
    name = next(iter(outputs))
    raw, is_v5 = _tensor(outputs, name), layout.family == "yolov5"
    before = BOX_ENTRIES if is_v5 else BOX_ENTRIES - 1
    if raw.ndim != 3 or len(raw) != 1 or raw.shape[2 if is_v5 else 1] != before + classes:
        wanted = f"[1, N, {before + classes}]" if is_v5 else f"[1, {before + classes}, N]"
        raise ValueError(f"output {name} is {list(raw.shape)}, {layout.family} with {classes} names gives {wanted}")
    rows = raw[0] if is_v5 else raw[0].T
    strongest = rows[:, before:].max(axis=1).astype(np.float64)
    factor = rows[:, 4].astype(np.float64) if is_v5 else np.ones(len(rows))
    with np.errstate(over="ignore", invalid="ignore"):  # 0 times infinity is none
        strongest *= factor
    kept = _passing(strongest, confidence)

    def scores(places: Places) -> Array:
        which = kept[places]
        found: Array = rows[which, before:].astype(np.float64) * factor[which, None]
        return found

    objectness = (factor if is_v5 else strongest)[kept]
    return _Boxes(rows[kept, :4].astype(np.float64) / np.tile(np.array(net, np.float64), 2), objectness, scores)


def _ssd(layout: Layout, outputs: Mapping[str, object], net: Size, classes: int, confidence: float) -> _Boxes:
    rows = _rows(outputs, layout.outputs.boxes, "[1, N, 4]", 4)
    read = _labelled if layout.outputs.labels else _columns
    kept, strongest, scores = read(layout, outputs, len(rows), classes, confidence)
    boxes: Array = rows[kept].astype(np.float64)
    if layout.boxes == "corners-yx":
        boxes = boxes[:, [1, 0, 3, 2]]
    boxes = boxes / np.tile(np.array(net if layout.unit == "pixel" else (1, 1), np.float64), 2)
    if layout.boxes != "centre":
        with np.errstate(over="ignore", invalid="ignore"):  # such a box is dropped by the caller
            boxes = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
    return _Boxes(boxes, strongest, scores)


def _columns(
    layout: Layout, outputs: Mapping[str, object], count: int, classes: int, confidence: float
) -> tuple[Places, Array, Scores]:
    """The boxes that can pass, their best scores, and all of them; columns before ``first_class`` (a background) do not count."""
    first = layout.first_class
    table = _rows(outputs, layout.outputs.scores, f"[1, N, {first + classes}]", None)
    if table.shape[1] != first + classes:
        raise ValueError(
            f"scores have {table.shape[1]} columns, first_class {first} and {classes} names need {first + classes}"
        )
    if len(table) != count:
        raise ValueError(f"{count} boxes have {len(table)} rows of scores: one of each is expected")
    strongest = table[:, first:].max(axis=1).astype(np.float64)
    kept = _passing(strongest, confidence)
    return kept, strongest[kept], lambda places: table[kept[places], first:].astype(np.float64)


def _labelled(
    layout: Layout, outputs: Mapping[str, object], count: int, classes: int, confidence: float
) -> tuple[Places, Array, Scores]:
    """As ``_columns``, of one score and label a box; labels without a name do not count."""
    strongest = _tensor(outputs, layout.outputs.scores).reshape(-1).astype(np.float64)
    labels = _tensor(outputs, layout.outputs.labels).reshape(-1).astype(np.float64) - layout.first_class
    if not count == len(strongest) == len(labels):
        raise ValueError(
            f"{count} boxes have {len(strongest)} scores and {len(labels)} labels: one of each is expected"
        )
    passing = _passing(strongest, confidence)
    kept = passing[(labels[passing] >= 0) & (labels[passing] < classes)]

    def scores(places: Places) -> Array:
        which = kept[places]
        found = np.zeros((len(which), classes))
        found[np.arange(len(which)), labels[which].astype(np.intp)] = strongest[which]
        return found

    return kept, strongest[kept], scores


def _passing(strongest: Array, confidence: float) -> Places:
    """Places of the boxes whose best score exceeds ``confidence``, the ``MAX_CANDIDATES`` best of them; NaN is none."""
    passing = np.flatnonzero(strongest > confidence)
    highest = strongest[passing].max(initial=0.0)
    if highest > MAX_SCORE:
        raise ValueError(f"gives a score of {highest:.3g}, which is above 1: does it lack the last sigmoid or softmax?")
    if len(passing) > MAX_CANDIDATES:
        order = np.argsort(-strongest[passing], kind="stable")[:MAX_CANDIDATES]
        passing = passing[np.sort(order)]
    return passing


def _rows(outputs: Mapping[str, object], name: str, wanted: str, columns: int | None) -> Tensor:
    """An output [1, N, columns], or without its batch, as [N, columns]; ``columns`` None takes any number."""
    raw = _tensor(outputs, name)
    rows = raw[0] if raw.ndim == 3 and len(raw) == 1 else raw
    if rows.ndim != 2 or columns not in (None, rows.shape[1]):
        raise ValueError(f"output {name} is {list(raw.shape)}: {wanted} is expected")
    return rows


def _tensor(outputs: Mapping[str, object], name: str) -> Tensor:
    if name not in outputs:
        raise ValueError(f"has no output {name}: it gives {', '.join(outputs)}")
    raw = outputs[name]
    if not isinstance(raw, np.ndarray) or raw.dtype.kind not in "fiu":
        raise ValueError(f"output {name} is no tensor of numbers")
    return raw
