"""Anchors for a cfg: k-means of box sizes under 1 - IoU (Redmon and Farhadi, "YOLO9000", 2016, section 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_wrappers.darknet.training.errors import TrainingError

MAX_ROUNDS = 300
Sizes = NDArray[np.float64]


def shape_iou(sizes: Sizes, anchors: Sizes) -> NDArray[np.float64]:
    """IoU [n, k] of boxes [n, 2] and anchors [k, 2] laid on one corner."""
    common = np.minimum(sizes[:, None], anchors[None]).prod(axis=2)
    return np.asarray(common / (sizes.prod(axis=1)[:, None] + anchors.prod(axis=1)[None] - common))


def find_anchors(sizes: Sizes, count: int, *, seed: int = 1) -> Sizes:
    """``count`` anchors [count, 2], smallest area first. ``sizes`` [n, 2] are widths and heights in network pixels.

    Raises:
        TrainingError: there are fewer different sizes than anchors.
    """
    distinct = np.unique(sizes, axis=0)
    if count < 1:
        raise TrainingError(f"count={count}: 1 anchor or more is possible")
    if len(distinct) < count:
        raise TrainingError(f"{count} anchors from {len(distinct)} different box sizes: fewer anchors are needed")
    anchors = _spread(distinct, count, np.random.default_rng(seed))
    nearest = np.full(len(sizes), -1)
    for _ in range(MAX_ROUNDS):
        found = shape_iou(sizes, anchors).argmax(axis=1)
        if (found == nearest).all():
            break
        nearest = found
        # The median, because a few boxes over a whole photo would pull a mean after them.
        anchors = np.array(
            [np.median(sizes[nearest == k], axis=0) if (nearest == k).any() else anchors[k] for k in range(count)]
        )
    return np.asarray(anchors[np.argsort(anchors.prod(axis=1), kind="stable")])


def _spread(sizes: Sizes, count: int, rng: np.random.Generator) -> Sizes:
    """Starting points far from each other, by k-means++ (Arthur and Vassilvitskii, 2007)."""
    chosen = [sizes[rng.integers(len(sizes))]]
    while len(chosen) < count:
        distance = (1 - shape_iou(sizes, np.array(chosen)).max(axis=1)) ** 2
        chosen.append(sizes[rng.choice(len(sizes), p=distance / distance.sum())])
    return np.array(chosen)


def mean_iou(sizes: Sizes, anchors: Sizes) -> float:
    """How well the anchors fit: mean over boxes of the best IoU."""
    return float(shape_iou(sizes, anchors).max(axis=1).mean())
