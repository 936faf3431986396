"""Non-maximum suppression as Darknet does it: ``sort`` per class, ``obj`` once over all classes by objectness."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.boxes import Centres, iou
from model_wrappers.darknet.decode import Candidates

Nms = Literal["sort", "obj"]
BLOCK = 64  # boxes whose overlaps with all worse ones are held at a time: 2 MiB beside 4,096
NMS_KINDS: tuple[Nms, ...] = get_args(Nms)


class Kept(NamedTuple):
    """Pairs of box and class that survive, most probable first."""

    box: npt.NDArray[np.intp]
    class_id: npt.NDArray[np.intp]
    confidence: npt.NDArray[np.float64]


def suppress(candidates: Candidates, *, threshold: float, kind: Nms) -> Kept:
    """Drop boxes that overlap a better one by more than ``threshold`` (IoU); one box may stay with several classes."""
    centres, objectness, probabilities = candidates
    stays = np.zeros(probabilities.shape, bool)
    if kind == "obj":
        stays[_greedy(centres, objectness, threshold)] = True
    else:
        for class_id in np.flatnonzero(probabilities.any(axis=0)):
            rivals = np.flatnonzero(probabilities[:, class_id])
            stays[rivals[_greedy(centres[rivals], probabilities[rivals, class_id], threshold)], class_id] = True
    box, classes = np.nonzero(stays & (probabilities > 0))
    confidence = probabilities[box, classes]
    order = np.argsort(-confidence, kind="stable")
    return Kept(box[order], classes[order], confidence[order])


def _greedy(centres: Centres, scores: npt.NDArray[np.float64], threshold: float) -> npt.NDArray[np.intp]:
    """Best score first. A block's overlaps are computed at once: a call per box would cost more than the numbers."""
    order: npt.NDArray[np.intp] = np.argsort(-scores, kind="stable")
    kept = []
    while order.size:
        block = order[:BLOCK]
        overlaps = iou(centres[block, None], centres[order]) > threshold
        stays = np.ones(len(order), bool)
        for place in range(len(block)):
            if stays[place]:
                stays[place + 1 :] &= ~overlaps[place, place + 1 :]
        kept.append(block[stays[: len(block)]])
        order = order[len(block) :][stays[len(block) :]]
    return np.concatenate(kept) if kept else order
