"""Weighted boxes fusion of several models' boxes of one class.

R. Solovyev, W. Wang, T. Gabruseva, "Weighted boxes fusion: Ensembling boxes from different object detection models"
(2019; Image and Vision Computing 107, 2021), section 3. Models' weights are those of its section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.boxes import iou

Floats = npt.NDArray[np.float64]

AVERAGE, MAXIMUM = "avg", "max"
CONFIDENCES = (AVERAGE, MAXIMUM)


class Boxes(NamedTuple):
    """Boxes of one class: corners [K, 4] in pixels, confidence [K] (0 to 1), and the place [K] of the model that found each."""

    corners: Floats
    confidence: Floats
    model: npt.NDArray[np.intp]


class Fused(NamedTuple):
    """Fused boxes: corners [C, 4], confidence [C] (0 to 1), and how many models have a box in each [C]."""

    corners: Floats
    confidence: Floats
    models: npt.NDArray[np.intp]


def fuse(boxes: Boxes, *, weights: Sequence[float], threshold: float, confidence: str = AVERAGE) -> Fused:
    """Clusters of boxes that overlap by more than ``threshold`` (IoU), each as its mean box, in no particular order.

    Boxes come in order of falling confidence times weight, ``c``; each joins the fused box that it overlaps most, or is a new
    one. A cluster of T boxes has the corners ``sum(c x) / sum(c)`` (the paper's equations 2 and 3) and the confidence
    ``sum(c) / T * min(T, N) / sum(weights)`` (1 and 5, of N models), or with ``max`` ``max(c) / max(weights)``. At most 1: with
    unequal weights a model that has two boxes in one cluster would be above it.

    ``weights``: of each model, above 0. The order of models with equal weights changes nothing.
    """
    shares = np.asarray(weights, np.float64) / sum(weights)
    scores = boxes.confidence * shares[boxes.model]
    order = np.lexsort((*boxes.corners.T[::-1], -scores))  # equal scores by their corners: no model comes first
    order = order[scores[order] > 0]
    cluster_of = _cluster(boxes.corners[order], scores[order], threshold)
    count = int(cluster_of.max(initial=-1)) + 1
    members = np.bincount(cluster_of, minlength=count)
    total = _summed(scores[order], cluster_of, count)
    corners = np.stack([_summed(scores[order] * side, cluster_of, count) / total for side in boxes.corners[order].T], 1)
    if confidence == MAXIMUM:
        best = np.zeros(count)
        np.maximum.at(best, cluster_of, scores[order])
        found = best / shares.max()
    else:
        found = total / members * np.minimum(members, len(shares))
    pairs = np.unique(np.stack([cluster_of, boxes.model[order]], 1), axis=0)
    return Fused(corners, np.minimum(found, 1.0), np.bincount(pairs[:, 0], minlength=count))


def _cluster(corners: Floats, scores: Floats, threshold: float) -> npt.NDArray[np.intp]:
    """The cluster of each box [K]: boxes are compared with the fused ones as they are when their turn comes."""
    sums, totals = np.zeros((len(corners), 4)), np.zeros(len(corners))
    fused = np.zeros((len(corners), 4))
    cluster_of = np.zeros(len(corners), np.intp)
    count = 0
    for place, (box, score) in enumerate(zip(corners, scores, strict=True)):
        overlaps = iou(_centres(box), _centres(fused[:count]))
        chosen = int(overlaps.argmax()) if count else 0
        if count == 0 or overlaps[chosen] <= threshold:
            chosen, count = count, count + 1
        cluster_of[place] = chosen
        sums[chosen] += score * box
        totals[chosen] += score
        fused[chosen] = sums[chosen] / totals[chosen]
    return cluster_of


def _centres(corners: Floats) -> Floats:
    """Corners [..., 4] → x, y of the centre, width, height."""
    low, high = corners[..., :2], corners[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def _summed(values: Floats, cluster_of: npt.NDArray[np.intp], count: int) -> Floats:
    return np.bincount(cluster_of, weights=values, minlength=count).astype(np.float64)
