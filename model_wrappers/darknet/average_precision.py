"""Average precision of detections against true boxes: Pascal VOC's two rules and COCO's.

*every-point* (VOC from 2010 on) is the area under precision made monotonic; *eleven-point* (VOC until 2009) its mean at
recall 0, 0.1 … 1; *coco* its mean at recall 0, 0.01 … 1 with COCO's matching: a detection takes the best true box that is
still free (VOC: the best of all, and is wrong if that one is taken), at most 100 detections a photo, here with neither
crowds nor areas. Everingham et al., "The Pascal Visual Object Classes Challenge" (2010); Lin et al., "COCO" (2014).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
Floats = NDArray[np.float64]
Method = Literal["every-point", "eleven-point", "coco"]
METHODS: tuple[Method, ...] = get_args(Method)

COCO_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
COCO_DETECTIONS = 100  # of one class in one photo, most confident first
_ELEVEN = np.linspace(0, 1, 11)
_HUNDRED_AND_ONE = np.linspace(0, 1, 101)


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
    scores: Floats


@dataclass(frozen=True)
class Rule:
    """How boxes are matched and averaged.

    ``inclusive`` counts a box from pixel 10 to pixel 19 as ten wide (VOC's development kit, width = max - min + 1); else
    corners are edges (COCO, and this library's boxes) and it is nine wide.
    """

    iou: float = 0.5
    method: Method = "every-point"
    inclusive: bool = False


def average_precisions(
    photos: Sequence[tuple[Truth, Found]], *, iou: float = 0.5, method: Method = "every-point", inclusive: bool = False
) -> dict[int, float]:
    """AP by class, for every class that occurs in the truth. The mean of the values is mAP at ``iou``."""
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not one of {', '.join(METHODS)}")
    rule = Rule(iou, method, inclusive)
    classes = sorted({int(value) for truth, _ in photos for value in truth.classes})
    return {number: _average_precision(photos, number, rule) for number in classes}


def mean(precisions: Mapping[int, float]) -> float:
    """The classes' mean (mAP), 0 where there are none."""
    return float(np.mean(list(precisions.values()))) if precisions else 0.0


def coco_map(photos: Sequence[tuple[Truth, Found]]) -> float:
    """COCO's main number: mAP averaged over IoU 0.50, 0.55 … 0.95."""
    return float(np.mean([mean(average_precisions(photos, iou=iou, method="coco")) for iou in COCO_IOUS]))


def _average_precision(photos: Sequence[tuple[Truth, Found]], number: int, rule: Rule) -> float:
    scores, hits, positives = [], [], 0
    for truth, found in photos:
        true_boxes = truth.boxes[truth.classes == number]
        mine = np.flatnonzero(found.classes == number)
        mine = mine[np.argsort(-found.scores[mine], kind="stable")]
        if rule.method == "coco":
            mine = mine[:COCO_DETECTIONS]
        positives += len(true_boxes)
        scores.append(found.scores[mine])
        hits.append(_hits(found.boxes[mine], true_boxes, rule))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hit = np.concatenate(hits)[order]
    true_so_far = np.cumsum(hit)
    recall = true_so_far / positives
    precision = true_so_far / np.arange(1, len(hit) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]  # the best precision at this recall or any higher one
    if rule.method == "every-point":
        return float(np.sum(np.diff(recall, prepend=0.0) * best))
    return _sampled(recall, best, _ELEVEN if rule.method == "eleven-point" else _HUNDRED_AND_ONE)


def _sampled(recall: Floats, best: Floats, levels: Floats) -> float:
    """Mean of the best precision at the given recalls; 0 where none was reached."""
    places = np.searchsorted(recall, levels, side="left")
    return float(np.mean(np.append(best, 0.0)[np.minimum(places, len(best))]))


def _hits(boxes: Boxes, true_boxes: Boxes, rule: Rule) -> NDArray[np.bool_]:
    """Whether each box, best score first, claims a true box that nobody has."""
    hits = np.zeros(len(boxes), dtype=bool)
    taken = np.zeros(len(true_boxes), dtype=bool)
    if not len(true_boxes):
        return hits
    for index, box in enumerate(boxes):
        overlaps = _ious(box, true_boxes, 1.0 if rule.inclusive else 0.0)
        if rule.method == "coco":
            overlaps[taken] = -1.0
        best = int(overlaps.argmax())
        if overlaps[best] >= rule.iou and not taken[best]:
            taken[best] = hits[index] = True
    return hits


def _ious(box: Boxes, others: Boxes, extra: float) -> Floats:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.clip(high - low + extra, 0, None), axis=1)
    area = np.prod(others[:, 2:] - others[:, :2] + extra, axis=1)
    union = np.prod(box[2:] - box[:2] + extra) + area - common
    overlaps: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return overlaps
