"""Non-maximum suppression as Darknet does it: ``sort`` per class, ``obj`` once over all classes by objectness."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.boxes import Centres, iou
from model_wrappers.darknet.candidates import Candidates, Pairs, Places

Nms = Literal["sort", "obj"]
BLOCK = 64  # boxes whose overlaps with all worse ones are held at a time: 2 MiB beside 4,096
NMS_KINDS: tuple[Nms, ...] = get_args(Nms)


def check_nms(kind: str) -> Nms:
    """``kind``. Raises ``ValueError`` where it is none."""
    if kind not in NMS_KINDS:
        raise ValueError(f"nms={kind!r} is not one of {', '.join(NMS_KINDS)}")
    return "obj" if kind == "obj" else "sort"


def suppress(candidates: Candidates, *, threshold: float, kind: Nms) -> Pairs:
    """The pairs that survive, most probable first: boxes that overlap a better one by more than ``threshold`` (IoU) go.

    One box may stay with several classes.
    """
    centres, objectness, pairs = candidates
    if kind == "obj":
        stays = np.isin(pairs.box, _greedy(centres, objectness, threshold))
    else:
        stays = np.zeros(len(pairs.box), bool)
        for rivals in _by_class(pairs.class_id):
            stays[rivals[_greedy(centres[pairs.box[rivals]], pairs.confidence[rivals], threshold)]] = True
    left = pairs.where(stays)
    return left.where(np.argsort(-left.confidence, kind="stable"))


def _by_class(class_id: Places) -> list[Places]:
    """Places of the pairs of each class, in their order."""
    order = np.argsort(class_id, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(class_id[order])) + 1)


def _greedy(centres: Centres, scores: npt.NDArray[np.float64], threshold: float) -> Places:
    """Best score first. A block's overlaps are computed at once: a call per box would cost more than the numbers."""
    order: Places = np.argsort(-scores, kind="stable")
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
