"""The outputs of an exported graph as candidates: centres as shares of the input's sides, scores by class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.decode import MAX_CANDIDATES, MAX_EXTENT, Candidates, best
from model_wrappers.darknet.letterbox import Size
from model_wrappers.darknet.shapes import BOX_ENTRIES
from model_wrappers.exported.layout import Layout

MAX_SCORE = 1.001  # what rounding makes of 1; more is no share: the export lacks its sigmoid or softmax

Array = npt.NDArray[np.float64]


def decode(layout: Layout, outputs: Mapping[str, object], net: Size, classes: int, confidence: float) -> Candidates:
    """``outputs`` by name. Raises ``ValueError`` naming the shape that the family has and the one that was found."""
    if layout.family == "ssd":
        found = _ssd(layout, outputs, net, classes, confidence)
    else:
        found = _yolo(layout, outputs, net, classes)
    highest = found.probabilities.max(initial=0.0, where=~np.isnan(found.probabilities))
    if highest > MAX_SCORE:
        raise ValueError(f"gives a score of {highest:.3g}, which is above 1: does it lack the last sigmoid or softmax?")
    scores = np.where(found.probabilities > confidence, np.minimum(found.probabilities, 1), 0)
    boxes = (np.abs(found.centres) < MAX_EXTENT).all(axis=1) & (found.centres[:, 2:] > 0).all(axis=1)
    usable = boxes & scores.any(axis=1)
    return best(Candidates(found.centres[usable], np.nan_to_num(found.objectness[usable]), scores[usable]))


def _yolo(layout: Layout, outputs: Mapping[str, object], net: Size, classes: int) -> Candidates:
    name = next(iter(outputs))
    raw = _tensor(outputs, name)
    before = BOX_ENTRIES if layout.family == "yolov5" else BOX_ENTRIES - 1
    columns = before + classes
    fits = raw.ndim == 3 and len(raw) == 1 and raw.shape[2 if layout.family == "yolov5" else 1] == columns
    if not fits:
        wanted = f"[1, N, {columns}]" if layout.family == "yolov5" else f"[1, {columns}, N]"
        raise ValueError(f"output {name} is {list(raw.shape)}, {layout.family} with {classes} names gives {wanted}")
    values = raw[0] if layout.family == "yolov5" else raw[0].T
    centres = values[:, :4] / np.tile(np.array(net, np.float64), 2)
    scores = values[:, before:]
    if layout.family == "yolov5":
        return Candidates(centres, values[:, 4], scores * values[:, 4:5])
    return Candidates(centres, scores.max(axis=1, initial=0.0), scores)


def _ssd(layout: Layout, outputs: Mapping[str, object], net: Size, classes: int, confidence: float) -> Candidates:
    boxes = _rows(outputs, layout.outputs.boxes, "[1, N, 4]", 4)
    if layout.outputs.labels:
        boxes, scores = _labelled(layout, outputs, boxes, classes, confidence)
    else:
        scores = _columns(layout, outputs, len(boxes), classes)
    if layout.boxes == "corners-yx":
        boxes = boxes[:, [1, 0, 3, 2]]
    boxes = boxes / np.tile(np.array(net if layout.unit == "pixel" else (1, 1), np.float64), 2)
    if layout.boxes != "centre":
        with np.errstate(over="ignore", invalid="ignore"):  # such a box is dropped by the caller
            boxes = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
    return Candidates(boxes, scores.max(axis=1, initial=0.0), scores)


def _columns(layout: Layout, outputs: Mapping[str, object], count: int, classes: int) -> Array:
    """[count, classes] of scores that have a column per class; those before ``first_class`` (a background) do not count."""
    first = layout.first_class
    scores = _rows(outputs, layout.outputs.scores, f"[1, N, {first + classes}]", None)
    if scores.shape[1] != first + classes:
        raise ValueError(
            f"scores have {scores.shape[1]} columns, first_class {first} and {classes} names need {first + classes}"
        )
    if len(scores) != count:
        raise ValueError(f"{count} boxes have {len(scores)} rows of scores: one of each is expected")
    return scores[:, first:]


def _labelled(
    layout: Layout, outputs: Mapping[str, object], boxes: Array, classes: int, confidence: float
) -> tuple[Array, Array]:
    """The best boxes that can pass, [K, 4], and their scores as [K, classes]; labels without a name do not count."""
    scores = _tensor(outputs, layout.outputs.scores).reshape(-1)
    labels = _tensor(outputs, layout.outputs.labels).reshape(-1) - layout.first_class
    if not len(boxes) == len(scores) == len(labels):
        raise ValueError(
            f"{len(boxes)} boxes have {len(scores)} scores and {len(labels)} labels: one of each is expected"
        )
    passing = np.flatnonzero((scores > confidence) & (labels >= 0) & (labels < classes))
    kept = passing[np.argsort(-scores[passing], kind="stable")[:MAX_CANDIDATES]]
    table = np.zeros((len(kept), classes))
    table[np.arange(len(kept)), labels[kept].astype(np.intp)] = scores[kept]
    return boxes[kept], table


def _rows(outputs: Mapping[str, object], name: str, wanted: str, columns: int | None) -> Array:
    """An output [1, N, columns], or without its batch, as [N, columns]; ``columns`` None takes any number."""
    raw = _tensor(outputs, name)
    rows = raw[0] if raw.ndim == 3 and len(raw) == 1 else raw
    if rows.ndim != 2 or columns not in (None, rows.shape[1]):
        raise ValueError(f"output {name} is {list(raw.shape)}: {wanted} is expected")
    return rows


def _tensor(outputs: Mapping[str, object], name: str) -> Array:
    if name not in outputs:
        raise ValueError(f"has no output {name}: it gives {', '.join(outputs)}")
    raw = outputs[name]
    if not isinstance(raw, np.ndarray) or raw.dtype.kind not in "fiu":
        raise ValueError(f"output {name} is no tensor of numbers")
    return raw.astype(np.float64)
