"""The outputs of an exported graph as candidates: centres as shares of the input's sides, scores by class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.decode import Candidates, best
from model_wrappers.darknet.letterbox import Size
from model_wrappers.exported.layout import Layout

Array = npt.NDArray[np.float64]


def decode(
    layout: Layout, outputs: Mapping[str, npt.NDArray[np.generic]], net: Size, classes: int, confidence: float
) -> Candidates:
    """``outputs`` by name. Raises ``ValueError`` naming the shape that the family has and the one that was found."""
    if layout.family == "ssd":
        centres, objectness, scores = _ssd(layout, outputs, net, classes)
    else:
        centres, objectness, scores = _yolo(layout, outputs, net, classes)
    scores = np.where(scores > confidence, scores, 0)
    usable = np.isfinite(centres).all(axis=1) & scores.any(axis=1)
    return best(Candidates(centres[usable], objectness[usable], scores[usable]))


def _yolo(
    layout: Layout, outputs: Mapping[str, npt.NDArray[np.generic]], net: Size, classes: int
) -> tuple[Array, Array, Array]:
    name, raw = next(iter(outputs.items()))
    before = 5 if layout.family == "yolov5" else 4
    rows = raw[0].T if layout.family == "yolov8" and raw.ndim == 3 else raw[0]
    if raw.ndim != 3 or len(raw) != 1 or rows.shape[1] != before + classes:
        wanted = f"[1, N, {before + classes}]" if layout.family == "yolov5" else f"[1, {before + classes}, N]"
        raise ValueError(f"output {name} is {list(raw.shape)}, {layout.family} with {classes} names gives {wanted}")
    values = rows.astype(np.float64)
    centres = values[:, :4] / np.tile(np.array(net, np.float64), 2)
    scores = values[:, before:]
    if layout.family == "yolov5":
        return centres, values[:, 4], scores * values[:, 4:5]
    return centres, scores.max(axis=1, initial=0.0), scores


def _ssd(
    layout: Layout, outputs: Mapping[str, npt.NDArray[np.generic]], net: Size, classes: int
) -> tuple[Array, Array, Array]:
    names = layout.outputs
    missing = [name for name in (names.boxes, names.scores, names.labels) if name and name not in outputs]
    if missing:
        raise ValueError(f"has no output {missing[0]}: it gives {', '.join(outputs)}")
    boxes = outputs[names.boxes].astype(np.float64).reshape(-1, 4)
    scores = _class_scores(layout, outputs, len(boxes), classes)
    sides = np.tile(np.array(net if layout.unit == "pixel" else (1, 1), np.float64), 2)
    if layout.boxes == "corners-yx":
        boxes = boxes[:, [1, 0, 3, 2]]
    boxes = boxes / sides
    if layout.boxes != "centre":
        boxes = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
    return boxes, scores.max(axis=1, initial=0.0), scores


def _class_scores(layout: Layout, outputs: Mapping[str, npt.NDArray[np.generic]], count: int, classes: int) -> Array:
    """[count, classes]; numbers below ``first_class`` (a background) and above the last name do not count."""
    raw = outputs[layout.outputs.scores].astype(np.float64).reshape(count, -1)
    first = layout.first_class
    if not layout.outputs.labels:
        if raw.shape[1] != first + classes:
            raise ValueError(
                f"scores have {raw.shape[1]} columns, first_class {first} and {classes} names need {first + classes}"
            )
        return raw[:, first:]
    labels = outputs[layout.outputs.labels].astype(np.int64).reshape(-1) - first
    if raw.shape[1] != 1 or len(labels) != count:
        raise ValueError(f"{count} boxes have {raw.size} scores and {len(labels)} labels: one of each is expected")
    known = (labels >= 0) & (labels < classes)
    scores = np.zeros((count, classes))
    scores[np.flatnonzero(known), labels[known]] = raw[known, 0]
    return scores
