from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_wrappers.darknet.average_precision import (
    METHODS,
    Found,
    Method,
    Truth,
    average_precisions,
    coco_map,
    mean,
)
from tests.data import SHARED_DATA

NO_CLASSES = np.zeros(0, np.int64)


def _photo(true: list[list[float]], found: list[list[float]]) -> tuple[Truth, Found]:
    """One class; ``found`` rows are score and corners."""
    rows = np.array(found, float).reshape(-1, 5)
    truth = Truth(np.array(true, float).reshape(-1, 4), np.zeros(len(true), np.int64))
    return truth, Found(rows[:, 1:], np.zeros(len(rows), np.int64), rows[:, 0])


def _random_photos(seed: int, photos: int = 12, classes: int = 3) -> list[tuple[Truth, Found]]:
    """True boxes, and detections that are moved copies of some of them, doubled ones and noise."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(photos):
        count = int(rng.integers(1, 6))
        low = rng.uniform(0, 200, (count, 2))
        true = np.concatenate([low, low + rng.uniform(10, 90, (count, 2))], axis=1)
        labels = rng.integers(0, classes, count)
        again = rng.integers(0, count, 6)
        moved = true[again] + rng.normal(0, 4, (6, 4))
        noise = rng.uniform(0, 200, (2, 2))
        boxes = np.concatenate([moved, np.concatenate([noise, noise + rng.uniform(5, 60, (2, 2))], axis=1)])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        guessed = np.concatenate([labels[again], rng.integers(0, classes, 2)])
        pairs.append((Truth(true, labels), Found(boxes, guessed, np.round(rng.uniform(0, 1, 8), 6))))
    return pairs


@pytest.mark.data
@pytest.mark.parametrize(
    ("method", "inclusive", "expected"),
    [
        ("every-point", True, 0.2456),  # published: 24.56 %
        ("eleven-point", True, 0.2684),  # published: 26.84 %
        ("every-point", False, 0.2254),  # corners as edges: one match is lost
    ],
)
def test_published_sample_has_the_published_precision(method: Method, inclusive: bool, expected: float) -> None:
    folder, photos = SHARED_DATA / "map_sample", []
    for path in sorted((folder / "groundtruths").glob("*.txt")):
        true = [[float(value) for value in line.split()[1:]] for line in path.read_text().splitlines()]
        lines = (folder / "detections" / path.name).read_text().splitlines()
        found = [[float(value) for value in line.split()[1:]] for line in lines]
        photos.append(
            _photo(
                [[x, y, x + w, y + h] for x, y, w, h in true],
                [[score, x, y, x + w, y + h] for score, x, y, w, h in found],
            )
        )
    precisions = average_precisions(photos, iou=0.3, method=method, inclusive=inclusive)
    assert sum(len(truth.boxes) for truth, _ in photos) == 15
    assert precisions[0] == pytest.approx(expected, abs=1e-4)


# COCOeval of pycocotools 2.0.11 on _random_photos(seed): AP[.50:.95], AP50, AP75
PYCOCOTOOLS = {
    0: (0.3344490758870636, 0.6047999092713242, 0.35248527523511136),
    1: (0.21959995459268367, 0.41058745090195287, 0.22441304650827074),
    2: (0.27082915956621384, 0.4558430387831845, 0.3048643155696195),
}


@pytest.mark.parametrize("seed", sorted(PYCOCOTOOLS))
def test_coco_precision_is_that_of_pycocotools(seed: int) -> None:
    photos = _random_photos(seed)
    at_50, at_75 = (mean(average_precisions(photos, iou=iou, method="coco")) for iou in (0.5, 0.75))
    assert (coco_map(photos), at_50, at_75) == pytest.approx(PYCOCOTOOLS[seed], abs=1e-9)


def test_a_second_detection_of_one_box_is_wrong() -> None:
    box = [0.0, 0.0, 10.0, 10.0]
    photos = [_photo([box, [50, 50, 60, 60]], [[0.9, *box], [0.8, *box], [0.7, 50, 50, 60, 60]])]
    assert average_precisions(photos) == {0: pytest.approx(0.5 + 0.5 * 2 / 3)}
    assert average_precisions(photos, method="eleven-point") == {0: pytest.approx((6 + 5 * 2 / 3) / 11)}


def test_coco_gives_the_second_best_box_where_voc_gives_none() -> None:
    one, other = [0.0, 0.0, 10.0, 10.0], [2.0, 0.0, 12.0, 10.0]
    photos = [_photo([one, other], [[0.9, *one], [0.8, 0.5, 0.0, 10.5, 10.0]])]
    assert average_precisions(photos, method="every-point") == {0: pytest.approx(0.5)}
    assert average_precisions(photos, method="coco") == {0: pytest.approx(1.0)}


def test_coco_counts_a_hundred_detections_a_photo() -> None:
    box = [0.0, 0.0, 10.0, 10.0]
    noise = [[0.9, 50.0, 50.0, 60.0, 60.0]] * 100
    assert average_precisions([_photo([box], [*noise, [0.1, *box]])], method="coco") == {0: 0.0}
    assert average_precisions([_photo([box], [*noise[1:], [0.1, *box]])], method="coco") == {0: pytest.approx(0.01)}


def test_inclusive_extents_widen_small_boxes() -> None:
    photos = [_photo([[0, 0, 1, 1]], [[0.9, 0, 0, 0, 1]])]
    assert average_precisions(photos, inclusive=False) == {0: 0.0}
    assert average_precisions(photos, inclusive=True) == {0: 1.0}


@pytest.mark.parametrize("method", METHODS)
def test_no_detections_are_precision_zero_and_unknown_classes_do_not_count(method: Method) -> None:
    truth = Truth(np.array([[0.0, 0.0, 5.0, 5.0]]), np.array([3]))
    nothing = Found(np.zeros((0, 4)), NO_CLASSES, np.zeros(0))
    other = Found(truth.boxes, np.array([4]), np.ones(1))
    assert average_precisions([(truth, nothing)], method=method) == {3: 0.0}
    assert average_precisions([(truth, other)], method=method) == {3: 0.0}
    assert mean({}) == 0.0


def test_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="method='voc' is not one of every-point, eleven-point, coco"):
        average_precisions([], method="voc")  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(METHODS))
def test_perfect_detections_are_one_and_every_value_lies_between(seed: int, method: Method) -> None:
    photos = _random_photos(seed)
    perfect = [(truth, Found(truth.boxes, truth.classes, np.ones(len(truth.boxes)))) for truth, _ in photos]
    assert set(average_precisions(perfect, method=method).values()) == {1.0}
    assert all(0 <= value <= 1 for value in average_precisions(photos, method=method).values())
