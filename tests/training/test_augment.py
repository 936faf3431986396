"""Changed photos keep true labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_wrappers.darknet.letterbox import GREY, Size
from model_wrappers.darknet.training.augment import MIRRORED, NONE, Augmentation, augmented
from model_wrappers.darknet.training.photos import LabelledPhoto, letterboxed

EVERYTHING = Augmentation(mirror=True, upside_down=True, scale=1.5, shift=0.2, light=0.2)


def photo_with_block(left: int = 20, top: int = 12, width: int = 24, height: int = 16) -> LabelledPhoto:
    """A white block on black, 80 x 64."""
    pixels = np.zeros((64, 80, 3), np.uint8)
    pixels[top : top + height, left : left + width] = 255
    box = np.array([[left, top, left + width, top + height]], np.float64)
    return LabelledPhoto(pixels, box, np.array([3]))


def bright_box(photo: LabelledPhoto) -> list[float]:
    """Corners of what is bright in the pixels."""
    rows, columns = np.nonzero(photo.pixels[:, :, 1] > GREY + 20)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("seed", range(30))
def test_a_box_stays_around_what_it_labels(seed: int) -> None:
    kind = Augmentation(mirror=True, upside_down=True, scale=1.4, shift=0.1)
    changed = augmented(photo_with_block(), kind, np.random.default_rng(seed))
    assert changed.pixels.shape == (64, 80, 3)
    assert changed.classes.tolist() == [3]
    np.testing.assert_allclose(changed.boxes[0], bright_box(changed), atol=1.0)


def test_a_mirrored_photo_is_exact() -> None:
    photo = photo_with_block()
    flipped = next(
        one
        for seed in range(20)
        if (one := augmented(photo, MIRRORED, np.random.default_rng(seed))).boxes.tolist() != photo.boxes.tolist()
    )
    assert (flipped.pixels == photo.pixels[:, ::-1]).all()
    assert flipped.boxes.tolist() == [[80 - 44, 12, 80 - 20, 28]]


def test_no_augmentation_changes_nothing() -> None:
    photo = photo_with_block()
    same = augmented(photo, NONE, np.random.default_rng(0))
    assert (same.pixels == photo.pixels).all()
    assert same.boxes.tolist() == photo.boxes.tolist()


def test_the_same_chance_gives_the_same_photo() -> None:
    first, again, other = (augmented(photo_with_block(), EVERYTHING, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert (first.pixels == again.pixels).all()
    assert first.boxes.tolist() == again.boxes.tolist()
    assert first.boxes.tolist() != other.boxes.tolist()


def test_light_changes_levels_and_no_box() -> None:
    photo = photo_with_block()
    photo.pixels[photo.pixels == 255] = 150
    lit = augmented(photo, Augmentation(mirror=False, light=0.3), np.random.default_rng(1))
    assert lit.boxes.tolist() == photo.boxes.tolist()
    assert set(np.unique(lit.pixels[:, :, 0])) != {0, 150}
    assert (lit.pixels[0, 0] == 0).all()


def test_a_box_that_leaves_the_frame_goes() -> None:
    photo = photo_with_block(left=0, top=0, width=8, height=8)
    kind = Augmentation(mirror=False, shift=0.5)
    left = [len(augmented(photo, kind, np.random.default_rng(seed)).boxes) for seed in range(20)]
    assert set(left) == {0, 1}


@given(
    seed=st.integers(0, 2**32 - 1),
    corners=st.lists(st.tuples(*[st.floats(0, 64)] * 4), max_size=6),
)
def test_boxes_always_lie_in_the_frame_and_have_area(seed: int, corners: list[tuple[float, ...]]) -> None:
    table = np.array(corners, np.float64).reshape(-1, 4)
    boxes = np.concatenate([np.minimum(table[:, :2], table[:, 2:]), np.maximum(table[:, :2], table[:, 2:])], axis=1)
    photo = LabelledPhoto(np.zeros((64, 80, 3), np.uint8), boxes, np.arange(len(boxes)))
    changed = augmented(photo, EVERYTHING, np.random.default_rng(seed))
    assert len(changed.boxes) == len(changed.classes)
    assert (changed.boxes[:, 2:] - changed.boxes[:, :2] >= 2 - 1e-9).all()
    assert (changed.boxes >= 0).all()
    assert (changed.boxes <= [80, 64, 80, 64]).all()


def test_letterboxed_boxes_follow_the_photo() -> None:
    boxed = letterboxed(photo_with_block(), Size(160, 160))
    assert boxed.pixels.shape == (160, 160, 3)
    assert boxed.boxes.tolist() == [[40, 24 + 16, 88, 56 + 16]]
    np.testing.assert_allclose(boxed.boxes[0], bright_box(boxed), atol=1.5)
