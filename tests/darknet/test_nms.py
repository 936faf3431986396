from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_wrappers.darknet.boxes import iou
from model_wrappers.darknet.candidates import Candidates
from model_wrappers.darknet.nms import BLOCK, Nms, suppress
from tests.darknet.dense import from_table, to_table

CLASSES = 3


def plain_iou(one: np.ndarray, other: np.ndarray) -> float:
    """``box_iou`` of pjreddie's ``box.c``."""
    sides = []
    for axis in (0, 1):
        low = max(one[axis] - one[axis + 2] / 2, other[axis] - other[axis + 2] / 2)
        high = min(one[axis] + one[axis + 2] / 2, other[axis] + other[axis + 2] / 2)
        sides.append(high - low)
    shared = 0 if min(sides) < 0 else sides[0] * sides[1]
    union = one[2] * one[3] + other[2] * other[3] - shared
    return shared / union if union > 0 else 0


def plain_sort(candidates: Candidates, threshold: float) -> set[tuple[int, int]]:
    """``do_nms_sort``: for each class, a box kills the later ones that it overlaps."""
    probabilities = to_table(candidates, CLASSES)
    for class_id in range(probabilities.shape[1]):
        order = sorted(range(len(probabilities)), key=lambda k: -probabilities[k, class_id])
        for place, i in enumerate(order):
            if probabilities[i, class_id] == 0:
                continue
            for j in order[place + 1 :]:
                if plain_iou(candidates.centres[i], candidates.centres[j]) > threshold:
                    probabilities[j, class_id] = 0
    return set(zip(*(axis.tolist() for axis in np.nonzero(probabilities)), strict=True))


def plain_obj(candidates: Candidates, threshold: float) -> set[tuple[int, int]]:
    """``do_nms_obj``: by objectness, a box kills all classes of the later ones that it overlaps."""
    objectness, probabilities = candidates.objectness.copy(), to_table(candidates, CLASSES)
    order = sorted(range(len(objectness)), key=lambda k: -objectness[k])
    for place, i in enumerate(order):
        if objectness[i] == 0:
            continue
        for j in order[place + 1 :]:
            if objectness[j] and plain_iou(candidates.centres[i], candidates.centres[j]) > threshold:
                objectness[j], probabilities[j] = 0, 0
    return set(zip(*(axis.tolist() for axis in np.nonzero(probabilities)), strict=True))


def _candidates(seed: int, count: int, *, otherwise: float = 0) -> Candidates:
    rng = np.random.default_rng(seed)
    probabilities = rng.uniform(0, 1, (count, CLASSES))
    probabilities[probabilities < 0.4] = otherwise
    return from_table(rng.uniform(0.1, 0.6, (count, 4)), rng.uniform(0.3, 1, count), probabilities)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999), count=st.integers(0, 25), threshold=st.sampled_from([0.0, 0.2, 0.45, 0.8, 1.0]))
@pytest.mark.parametrize(("kind", "plain"), [("sort", plain_sort), ("obj", plain_obj)])
def test_suppress_equals_darknets_loops(kind: Nms, plain: object, seed: int, count: int, threshold: float) -> None:
    candidates = _candidates(seed, count)
    kept = suppress(candidates, threshold=threshold, kind=kind)
    assert set(zip(kept.box.tolist(), kept.class_id.tolist(), strict=True)) == plain(candidates, threshold)
    assert kept.confidence.tolist() == sorted(kept.confidence.tolist(), reverse=True)
    assert kept.confidence.tolist() == to_table(candidates, CLASSES)[kept.box, kept.class_id].tolist()


@pytest.mark.parametrize("count", [BLOCK, BLOCK + 1, 3 * BLOCK + 5])
@pytest.mark.parametrize(("kind", "plain"), [("sort", plain_sort), ("obj", plain_obj)])
def test_suppress_of_many_blocks_equals_darknets_loops(kind: Nms, plain: object, count: int) -> None:
    candidates = _candidates(7, count, otherwise=0.2)
    kept = suppress(candidates, threshold=0.45, kind=kind)
    assert BLOCK / 2 < len(kept.box) < CLASSES * count
    assert set(zip(kept.box.tolist(), kept.class_id.tolist(), strict=True)) == plain(candidates, 0.45)


def test_sort_keeps_one_box_with_two_classes_and_obj_keeps_one_box_of_two_classes() -> None:
    centres = np.array([[0.5, 0.5, 0.4, 0.4], [0.5, 0.5, 0.4, 0.41]])
    candidates = from_table(centres, np.array([0.9, 0.8]), np.array([[0.8, 0.0], [0.0, 0.7]]))
    by_class = suppress(candidates, threshold=0.45, kind="sort")
    over_all = suppress(candidates, threshold=0.45, kind="obj")
    assert by_class.class_id.tolist() == [0, 1]
    assert over_all.class_id.tolist() == [0]


def test_iou_of_boxes_that_touch_or_are_empty_is_zero() -> None:
    one = np.array([0.25, 0.5, 0.5, 1.0])
    many = np.array([[0.75, 0.5, 0.5, 1.0], [0.25, 0.5, 0.5, 1.0], [0.5, 0.5, 0, 0]])
    assert iou(one, many).tolist() == [0, 1, 0]
    assert iou(np.zeros(4), np.zeros((1, 4))).tolist() == [0]
