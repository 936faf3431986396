from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_wrappers.darknet.boxes import Box, Detection, to_corners, to_photo
from model_wrappers.darknet.letterbox import Size, place

sides = st.integers(1, 3000)


@given(photo=st.tuples(sides, sides), net=st.tuples(st.integers(32, 640), st.integers(32, 640)))
def test_to_photo_undoes_the_letterbox(photo: tuple[int, int], net: tuple[int, int]) -> None:
    size, network = Size(*photo), Size(*net)
    placement = place(size, network)
    whole = [0.5, 0.5, placement.width / network.width, placement.height / network.height]
    np.testing.assert_allclose(to_photo(np.array([whole]), size, network), [[0.5, 0.5, 1, 1]], atol=1e-9)


def test_to_corners_clips_only_if_asked() -> None:
    centres = np.array([[0.5, 0.0, 0.5, 0.2]])
    assert to_corners(centres, Size(200, 100), clip=False).tolist() == [[50, -10, 150, 10]]
    assert to_corners(centres, Size(200, 100), clip=True).tolist() == [[50, 0, 150, 10]]


@pytest.mark.parametrize("count", [0, 3])
def test_corners_keep_their_number(count: int) -> None:
    centres = np.full((count, 4), 0.5)
    assert to_corners(to_photo(centres, Size(20, 10), Size(32, 32)), Size(20, 10), clip=True).shape == (count, 4)


def test_detection_to_json_rounds() -> None:
    found = Detection("bird", 14, 0.99834567, Box(1.23456, 2, 3, 4.999))
    assert found.to_json() == {
        "label": "bird",
        "class_id": 14,
        "confidence": 0.9983,
        "box": {"x_min": 1.23, "y_min": 2, "x_max": 3, "y_max": 5.0},
    }
