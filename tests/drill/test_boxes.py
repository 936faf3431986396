"""Which answers count as the same."""

from __future__ import annotations

import pytest

from slipway.drill.boxes import same_boxes
from tests.drill.replies import detection


def test_order_and_small_differences_do_not_matter() -> None:
    left = [detection("dog"), detection("cat", x=40)]
    right = [detection("cat", x=40.9, confidence=0.895), detection("dog", x=9.2)]
    assert same_boxes(left, right)


@pytest.mark.parametrize(
    "other",
    [
        [],
        [detection("cat")],
        [detection(x=11.5)],
        [detection(confidence=0.8)],
        [detection(), detection()],
    ],
)
def test_another_box_is_seen(other: list[dict[str, object]]) -> None:
    assert not same_boxes([detection()], other)
    assert not same_boxes(other, [detection()])


def test_one_box_does_not_stand_for_two() -> None:
    assert not same_boxes([detection(), detection()], [detection(), detection(x=40)])
