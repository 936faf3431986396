"""What a network proposes, before NMS: boxes, and which classes each may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.boxes import Centres

MAX_CANDIDATES = 4096  # boxes that reach NMS, best objectness first
MAX_PAIRS = 8192  # pairs of box and class that reach it, most probable first; together they bound its time
MAX_EXTENT = 1e15  # of a centre or side, in pictures: a larger one is no box, and its area overflows Darknet's float32
BLOCK_SCORES = 1 << 18  # scores looked at at a time, 2 MiB of them: all boxes by 20,000 classes would be 655 MB

Array = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Scores = Callable[[Places], Array]  # places of K boxes → [K, classes]


class Pairs(NamedTuple):
    """Boxes, by their place, with a class that each may be and how probable that is; sorted by box, then by class."""

    box: Places
    class_id: Places
    confidence: Array

    def where(self, chosen: npt.NDArray[np.bool_] | Places) -> Pairs:
        return Pairs(self.box[chosen], self.class_id[chosen], self.confidence[chosen])


class Candidates(NamedTuple):
    """K boxes before NMS, and the ``pairs`` of one of them with a class that exceeds the confidence."""

    centres: Centres
    objectness: Array
    pairs: Pairs


def collect(
    centres: Centres,
    objectness: Array,
    scores: Scores,
    *,
    classes: int,
    confidence: float,
    max_boxes: int = MAX_CANDIDATES,
    max_pairs: int = MAX_PAIRS,
) -> Candidates:
    """The ``max_boxes`` boxes with the highest objectness that have a class, in their old order, and their best pairs.

    ``scores`` is asked for some boxes at a time, the best first, while there is room: what is held does not grow with
    boxes times classes. A box that is not finite, or reaches beyond ``MAX_EXTENT``, is none.
    """
    usable = np.flatnonzero((np.abs(centres) < MAX_EXTENT).all(axis=1))
    order = usable[np.argsort(-objectness[usable], kind="stable")]
    step = max(1, BLOCK_SCORES // classes)
    kept, pairs = np.empty(0, np.intp), Pairs(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0))
    for start in range(0, len(order), step):
        if len(kept) == max_boxes:
            break
        block = order[start : start + step]
        found = _above(confidence, block, scores(block))
        with_class = block[np.isin(block, found.box)][: max_boxes - len(kept)]
        kept = np.concatenate([kept, with_class])
        pairs = _best(pairs, found.where(np.isin(found.box, with_class)), max_pairs)
    kept = np.sort(kept)
    pairs = pairs.where(np.lexsort((pairs.class_id, pairs.box)))
    return Candidates(centres[kept], objectness[kept], pairs._replace(box=np.searchsorted(kept, pairs.box)))


def _above(confidence: float, boxes: Places, scores: Array) -> Pairs:
    row, class_id = np.nonzero(scores > confidence)  # NaN is not above
    return Pairs(boxes[row], class_id, scores[row, class_id])


def _best(some: Pairs, others: Pairs, count: int) -> Pairs:
    """The ``count`` most probable of both; of equal ones the first boxes, then the first classes."""
    joined = Pairs(*(np.concatenate(arrays) for arrays in zip(some, others, strict=True)))
    if len(joined.box) <= count:
        return joined
    least = np.partition(joined.confidence, -count)[-count]
    above, tied = np.flatnonzero(joined.confidence > least), np.flatnonzero(joined.confidence == least)
    place = joined.box[tied] * (1 + joined.class_id.max()) + joined.class_id[tied]
    room = count - len(above)
    return joined.where(np.concatenate([above, tied[np.argpartition(place, room - 1)[:room]]]))
