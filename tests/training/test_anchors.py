"""Anchors by k-means of box sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_wrappers.darknet.training.anchors import find_anchors, mean_iou, shape_iou
from model_wrappers.darknet.training.errors import TrainingError


def test_clusters_are_found_smallest_first() -> None:
    rng = np.random.default_rng(1)
    centres = np.array([[60.0, 40.0], [10.0, 12.0], [100.0, 110.0]])
    sizes = np.concatenate([centre + rng.normal(0, 1, (50, 2)) for centre in centres])
    found = find_anchors(sizes, 3)
    np.testing.assert_allclose(found, centres[[1, 0, 2]], atol=1)
    assert mean_iou(sizes, found) > 0.9


def test_iou_of_shapes_is_that_of_boxes_on_one_corner() -> None:
    found = shape_iou(np.array([[10.0, 10.0], [20.0, 5.0]]), np.array([[10.0, 10.0], [5.0, 20.0]]))
    np.testing.assert_allclose(found, [[1, 50 / 150], [50 / 150, 25 / 175]])


def test_more_anchors_than_sizes_are_refused() -> None:
    with pytest.raises(TrainingError, match="3 anchors from 2 different box sizes"):
        find_anchors(np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]), 3)


@pytest.mark.parametrize("count", [0, -1])
def test_no_anchors_are_refused(count: int) -> None:
    with pytest.raises(TrainingError, match=f"count={count}: 1 anchor or more"):
        find_anchors(np.array([[1.0, 2.0]]), count)


@given(
    st.lists(st.tuples(st.floats(1, 500), st.floats(1, 500)), min_size=4, max_size=40, unique=True), st.integers(1, 4)
)
def test_more_anchors_never_leave_the_sizes(sizes: list[tuple[float, float]], count: int) -> None:
    table = np.array(sizes)
    found = find_anchors(table, count)
    assert found.shape == (count, 2)
    assert (found.min(axis=0) >= table.min(axis=0)).all()
    assert (found.max(axis=0) <= table.max(axis=0)).all()
    areas = found.prod(axis=1)
    assert (np.diff(areas) >= 0).all()
    assert 0 < mean_iou(table, found) <= 1
