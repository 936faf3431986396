from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_wrappers.darknet.decode import decode
from model_wrappers.darknet.layers import Head, Region, Yolo
from model_wrappers.darknet.letterbox import Size
from tests.darknet.dense import to_table

NET = Size(64, 96)
ANCHORS = ((10.0, 14.0), (23.0, 27.0))


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def plain_decode(head: Head, output: np.ndarray, confidence: float) -> list[tuple[float, ...]]:
    """Every cell looked at, one number after another: x, y, width, height, objectness, then each class."""
    _, rows, columns = output.shape
    cells = output.reshape(len(head.anchors), 5 + head.classes, rows, columns).astype(float)
    found = []
    for anchor, (wide, high) in enumerate(head.anchors):
        for row in range(rows):
            for column in range(columns):
                values = cells[anchor, :, row, column]
                objectness = _logistic(values[4])
                if isinstance(head, Region) and head.softmax:
                    powers = [math.exp(value) for value in values[5:]]
                    classes = [power / sum(powers) for power in powers]
                else:
                    classes = [_logistic(value) for value in values[5:]]
                probabilities = [objectness * one if objectness * one > confidence else 0 for one in classes]
                if objectness <= confidence or not any(probabilities):
                    continue
                stretch = head.scale_x_y if isinstance(head, Yolo) else 1
                x = (column + _logistic(values[0]) * stretch - 0.5 * (stretch - 1)) / columns
                y = (row + _logistic(values[1]) * stretch - 0.5 * (stretch - 1)) / rows
                unit = NET if isinstance(head, Yolo) else (columns, rows)
                w, h = math.exp(values[2]) * wide / unit[0], math.exp(values[3]) * high / unit[1]
                found.append((x, y, w, h, objectness, *probabilities))
    return found


HEADS = [
    Yolo(ANCHORS, classes=3, scale_x_y=1.0),
    Yolo(ANCHORS, classes=1, scale_x_y=1.1),
    Region(ANCHORS, classes=3, softmax=True),
    Region(ANCHORS, classes=3, softmax=False),
]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999), confidence=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]))
@pytest.mark.parametrize("head", HEADS, ids=["yolo", "scale_x_y", "softmax", "region"])
def test_decode_equals_looking_at_every_cell(head: Head, seed: int, confidence: float) -> None:
    shape = (len(head.anchors) * (5 + head.classes), 3, 2)
    output = np.random.default_rng(seed).normal(0, 2, shape).astype(np.float32)
    found = decode([head], [output], NET, confidence)
    rows = np.column_stack([found.centres, found.objectness, to_table(found, head.classes)])
    expected = np.array(plain_decode(head, output, confidence)).reshape(-1, 5 + head.classes)
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)


def test_decode_joins_heads_in_order() -> None:
    head = Yolo(((8.0, 8.0),), classes=1, scale_x_y=1)
    outputs = [np.full((6, side, side), 5, np.float32) for side in (1, 2)]
    found = decode([head, head], outputs, NET, 0.5)
    assert found.centres.shape == (5, 4)
    assert found.pairs.box.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1000.0])
def test_decode_drops_boxes_that_are_not_finite(bad: float) -> None:
    output = np.full((6, 1, 2), 5, np.float32)
    output[2, 0, 0] = bad  # the width of the first cell
    found = decode([Yolo(((8.0, 8.0),), classes=1, scale_x_y=1)], [output], NET, 0.25)
    assert len(found.centres) == 1
    assert np.isfinite(found.centres).all()


def test_decode_finds_nothing_above_confidence_one() -> None:
    output = np.full((6, 2, 2), 40, np.float32)
    assert len(decode([Yolo(((8.0, 8.0),), classes=1, scale_x_y=1)], [output], NET, 1.0).centres) == 0


def test_boxes_without_bounds_are_dropped() -> None:
    head = Yolo(anchors=((8.0, 8.0),), classes=1, scale_x_y=1.0)
    output = np.full((6, 1, 4), 9, np.float32)
    output[2, 0] = [0, 30, 60, 1000]  # sides of 8 pixels, 1e13, 1e26 and infinitely many
    found = decode([head], [output], Size(32, 8), 0.25)
    assert len(found.centres) == 2
    assert np.isfinite(found.centres[:, 2] * found.centres[:, 3]).all()
