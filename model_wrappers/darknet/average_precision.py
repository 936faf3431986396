"""Average precision of detections against true boxes, as in Pascal VOC from 2010 on (every recall point)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """What is in one photo: ``boxes`` [n, 4] corners in pixels, ``classes`` [n]."""

    boxes: Boxes
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """What was detected in one photo: ``boxes`` [n, 4] corners in pixels, ``classes`` [n], ``scores`` [n]."""

    boxes: Boxes
    classes: NDArray[np.int64]
    scores: NDArray[np.float64]


def average_precisions(photos: Sequence[tuple[Truth, Found]], *, iou: float = 0.5) -> dict[int, float]:
    """AP by class, for every class that occurs in the truth. The mean of the values is mAP at ``iou``."""
    classes = sorted({int(value) for truth, _ in photos for value in truth.classes})
    return {number: _average_precision(photos, number, iou) for number in classes}


def mean(precisions: Mapping[int, float]) -> float:
    """MAP."""
    return float(np.mean(list(precisions.values()))) if precisions else 0.0


def _average_precision(photos: Sequence[tuple[Truth, Found]], number: int, iou: float) -> float:
    scores, hits, positives = [], [], 0
    for truth, found in photos:
        true_boxes = truth.boxes[truth.classes == number]
        mine = found.classes == number
        positives += len(true_boxes)
        scores.append(found.scores[mine])
        hits.append(_hits(found.boxes[mine], found.scores[mine], true_boxes, iou))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hit = np.concatenate(hits)[order]
    true_so_far = np.cumsum(hit)
    recall = true_so_far / positives
    precision = true_so_far / np.arange(1, len(hit) + 1)
    return _area(recall, precision)


def _hits(boxes: Boxes, scores: NDArray[np.float64], true_boxes: Boxes, iou: float) -> NDArray[np.bool_]:
    """Whether each box is the first, by score, to claim the true box that it overlaps most (VOC's rule)."""
    hits = np.zeros(len(boxes), dtype=bool)
    if len(true_boxes) == 0:
        return hits
    taken = np.zeros(len(true_boxes), dtype=bool)
    for index in np.argsort(-scores, kind="stable"):
        overlaps = _ious(boxes[index], true_boxes)
        best = int(overlaps.argmax())
        if overlaps[best] >= iou and not taken[best]:
            taken[best] = hits[index] = True
    return hits


def _ious(box: Boxes, others: Boxes) -> NDArray[np.float64]:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    area = np.prod(others[:, 2:] - others[:, :2], axis=1)
    union = np.prod(box[2:] - box[:2]) + area - common
    overlaps: NDArray[np.float64] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return overlaps


def _area(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    """Under the precision that is the best at this recall or any higher one."""
    recall = np.concatenate([[0.0], recall])
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * best))
