"""Where labels go."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model_wrappers.labels import Rectangle, place_labels

SIZE = (60, 12)
WIDTH, HEIGHT = 400, 300


def place(*boxes: Rectangle) -> list[Rectangle]:
    return place_labels(boxes, [SIZE] * len(boxes), width=WIDTH, height=HEIGHT)


def shared(one: Rectangle, other: Rectangle) -> int:
    return one.shared(np.array([[other.left, other.top, other.right, other.bottom]]))


def test_many_boxes_take_no_longer_than_they_must() -> None:
    """The places of 3000 labels on one spot: quadratic in arrays, not in Python's objects."""
    places = place(*[Rectangle(100, 100, 180, 160)] * 3000)
    assert len(places) == 3000
    assert len({(one.left, one.top) for one in places}) == 10


def test_label_stands_above_its_box() -> None:
    assert place(Rectangle(100, 100, 180, 160)) == [Rectangle(100, 88, 160, 100)]


def test_label_of_a_box_at_the_edge_stays_in_the_picture() -> None:
    assert place(Rectangle(-10, 2, 30, 60)) == [Rectangle(0, 0, 60, 12)]
    assert place(Rectangle(390, 100, 500, 160)) == [Rectangle(340, 88, 400, 100)]


def test_boxes_on_one_thing_have_two_labels_to_read() -> None:
    """The case of docs/screens: one shape that is two classes."""
    first, second = place(Rectangle(100, 100, 180, 160), Rectangle(92, 96, 184, 164))
    assert first == Rectangle(100, 88, 160, 100)
    assert second == Rectangle(92, 164, 152, 176)


def test_where_no_place_is_free_the_least_is_covered() -> None:
    boxes = [Rectangle(0, 0, 60, 12)] * 3
    places = place_labels(boxes, [SIZE] * 3, width=60, height=24)
    assert shared(places[0], places[1]) == 0
    assert all(one.bottom <= 24 for one in places)


corners = st.tuples(st.integers(-50, 450), st.integers(-50, 350), st.integers(0, 200), st.integers(0, 200))
inner = st.builds(
    lambda left, top, width, height: Rectangle(left, top, left + width, top + height),
    *(st.integers(50, 200), st.integers(50, 150), st.integers(20, 100), st.integers(20, 100)),
)


@settings(deadline=None)
@given(st.lists(corners, max_size=12))
def test_labels_lie_in_the_picture(found: list[tuple[int, int, int, int]]) -> None:
    for one in place(*(Rectangle(left, top, left + width, top + height) for left, top, width, height in found)):
        assert 0 <= one.left <= one.right <= WIDTH
        assert 0 <= one.top <= one.bottom <= HEIGHT
        assert (one.right - one.left, one.bottom - one.top) == SIZE


@settings(deadline=None)
@given(inner, inner)
def test_labels_of_two_boxes_never_meet(first: Rectangle, second: Rectangle) -> None:
    one, other = place(first, second)
    assert shared(one, other) == 0
