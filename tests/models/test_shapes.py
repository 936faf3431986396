"""The models that come with the repository are as good as their README says."""

from __future__ import annotations

import hashlib

import pytest

from model_wrappers import darknet
from model_wrappers.darknet.training.errors import TrainingError
from models.shapes.data import HELD_OUT, DrawnShapes
from models.shapes.draw import draw
from models.shapes.evaluate import held_out_map, shapes_model
from tests.data import REPOSITORY


def test_drawing_is_the_same_for_the_same_seed() -> None:
    first, again = draw(7), draw(7)
    assert hashlib.sha256(first.pixels.tobytes()).digest() == hashlib.sha256(again.pixels.tobytes()).digest()
    assert (first.boxes == again.boxes).all()
    assert not (draw(8).pixels == first.pixels).all()


@pytest.mark.parametrize("seed", range(20))
def test_drawn_boxes_lie_in_the_photo_and_hold_their_shape(seed: int) -> None:
    drawn = draw(seed)
    assert len(drawn.boxes) == len(drawn.classes) >= 1
    assert (drawn.boxes[:, 2:] - drawn.boxes[:, :2] >= 8).all()
    assert (drawn.boxes >= -1).all()
    assert (drawn.boxes[:, [0, 2]] <= drawn.pixels.shape[1] + 1).all()
    assert (drawn.boxes[:, [1, 3]] <= drawn.pixels.shape[0] + 1).all()


@pytest.mark.parametrize("version", [1, 2])
def test_weights_fit_the_cfg_and_are_small(version: int) -> None:
    model = shapes_model(version)
    summary = darknet.check(model.cfg_path, model.weights_path, model.names_path)
    assert (summary.width, summary.height, summary.classes) == (192, 192, 4)
    assert summary.weights_bytes <= 2_000_000


def test_second_version_is_good_and_better_than_the_first() -> None:
    first, second = held_out_map(shapes_model(1)), held_out_map(shapes_model(2))
    assert second >= 0.90
    assert second >= first + 0.2
    readme = (REPOSITORY / "models" / "shapes" / "README.md").read_text()
    assert f"| {first:.3f} |" in readme
    assert f"| {second:.3f} |" in readme


@pytest.mark.parametrize("photos", [-1, HELD_OUT + 1])
def test_photos_that_are_none_or_held_out_are_refused(photos: int) -> None:
    with pytest.raises(TrainingError, match=f"{photos} photos: 0 to {HELD_OUT} are possible"):
        DrawnShapes(photos)
