from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_wrappers.darknet import candidates
from model_wrappers.darknet.candidates import MAX_PAIRS, Candidates, Places, collect
from tests.darknet.dense import to_table


def collected(table: np.ndarray, objectness: np.ndarray, *, confidence: float = 0.0, **limits: int) -> Candidates:
    centres = np.arange(4.0 * len(table)).reshape(-1, 4)
    classes = table.shape[1]
    return collect(centres, objectness, lambda places: table[places], classes=classes, confidence=confidence, **limits)


def plain(table: np.ndarray, objectness: np.ndarray, *, boxes: int, pairs: int) -> tuple[list[int], np.ndarray]:
    """The whole table at once: the boxes kept, and what is left of their rows."""
    having = [row for row in range(len(table)) if table[row].any()]
    kept = sorted(sorted(having, key=lambda row: (-objectness[row], row))[:boxes])
    left = table[kept]
    for place in np.argsort(-left, axis=None, kind="stable")[pairs:]:
        left.flat[place] = 0
    return kept, left


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 9999),
    count=st.integers(0, 40),
    boxes=st.integers(1, 30),
    pairs=st.integers(1, 60),
    block=st.sampled_from([1, 7, 30, 1000]),
)
def test_collect_in_blocks_equals_the_whole_table(seed: int, count: int, boxes: int, pairs: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    table = np.where(rng.uniform(size=(count, 3)) < 0.4, rng.integers(1, 9, (count, 3)) / 10, 0)  # with many ties
    objectness = rng.integers(1, 9, count) / 10
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "BLOCK_SCORES", block)
        found = collected(table, objectness, max_boxes=boxes, max_pairs=pairs)
    kept, left = plain(table, objectness, boxes=boxes, pairs=pairs)
    assert (found.centres[:, 0] / 4).tolist() == kept
    assert found.objectness.tolist() == objectness[kept].tolist()
    assert to_table(found, 3).tolist() == left.tolist()
    order = list(zip(found.pairs.box.tolist(), found.pairs.class_id.tolist(), strict=True))
    assert order == sorted(order)


def test_collect_asks_for_no_more_scores_than_it_keeps() -> None:
    """400 boxes of 20,000 names are 64 MB as one table, and a network of 608 pixels has 22,743 of them."""
    classes, count, boxes = 20_000, 22_743, 400
    largest = asked = 0

    def scores(places: Places) -> np.ndarray:
        nonlocal largest, asked
        largest, asked = max(largest, len(places)), asked + len(places)
        return np.ones((len(places), classes))

    tracemalloc.start()
    try:
        objectness = np.linspace(1, 0.5, count)
        found = collect(np.zeros((count, 4)), objectness, scores, classes=classes, confidence=0.5, max_boxes=boxes)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(found.objectness), len(found.pairs.box)) == (boxes, MAX_PAIRS)
    assert largest * classes <= candidates.BLOCK_SCORES
    assert asked < boxes + largest
    assert peak_bytes < 40e6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2e15])
def test_box_without_bounds_is_none(bad: float) -> None:
    centres = np.array([[0.5, 0.5, 0.1, bad], [0.5, 0.5, 0.1, 0.1]])
    found = collect(centres, np.ones(2), lambda places: np.ones((len(places), 1)), classes=1, confidence=0.5)
    assert found.centres.tolist() == [[0.5, 0.5, 0.1, 0.1]]


def test_score_that_is_no_number_or_not_above_the_confidence_is_no_pair() -> None:
    found = collected(np.array([[np.nan, 0.5], [0.6, 0.5]]), np.array([0.9, 0.8]), confidence=0.5)
    assert (found.pairs.box.tolist(), found.pairs.class_id.tolist()) == ([0], [0])
    assert found.objectness.tolist() == [0.8]
