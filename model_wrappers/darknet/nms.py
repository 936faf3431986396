"""Non-maximum suppression as Darknet does it: ``sort`` per class, ``obj`` once over all classes by objectness."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.boxes import Centres, iou
from model_wrappers.darknet.decode import Candidates

Nms = Literal["sort", "obj"]
NMS_KINDS: tuple[Nms, ...] = get_args(Nms)


class Kept(NamedTuple):
    """Pairs of box and class that survive, most probable first."""

    box: npt.NDArray[np.intp]
    class_id: npt.NDArray[np.intp]
    confidence: npt.NDArray[np.float64]


def suppress(candidates: Candidates, *, threshold: float, kind: Nms) -> Kept:
    """Drop boxes that overlap a better one by more than ``threshold`` (IoU); one box may stay with several classes."""
    probabilities = candidates.probabilities.copy()
    if kind == "obj":
        kept = _greedy(candidates.centres, candidates.objectness, threshold)
        probabilities[np.setdiff1d(np.arange(len(probabilities)), kept)] = 0
    else:
        for class_id in np.flatnonzero(probabilities.any(axis=0)):
            rivals = np.flatnonzero(probabilities[:, class_id])
            kept = rivals[_greedy(candidates.centres[rivals], probabilities[rivals, class_id], threshold)]
            probabilities[np.setdiff1d(rivals, kept), class_id] = 0
    box, classes = np.nonzero(probabilities)
    confidence = probabilities[box, classes]
    order = np.argsort(-confidence, kind="stable")
    return Kept(box[order], classes[order], confidence[order])


def _greedy(centres: Centres, scores: npt.NDArray[np.float64], threshold: float) -> npt.NDArray[np.intp]:
    order: npt.NDArray[np.intp] = np.argsort(-scores, kind="stable")
    kept = []
    while order.size:
        first, rest = order[0], order[1:]
        kept.append(first)
        order = rest[iou(centres[first], centres[rest]) <= threshold]
    return np.array(kept, np.intp)
