"""Whether two answers to the same photo say the same."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.drill.reply import Detection

PIXELS = 1.0
"""How far a side may lie off: engines add in another order when they have other threads or batches."""
CONFIDENCE = 0.01


def same_boxes(left: Sequence[Detection], right: Sequence[Detection]) -> bool:
    """As many detections, each with one of the same label in the same place on the other side."""
    if len(left) != len(right):
        return False
    rest = list(right)
    for item in left:
        found = next((other for other in rest if _same(item, other)), None)
        if found is None:
            return False
        rest.remove(found)
    return True


def _same(left: Detection, right: Detection) -> bool:
    if left["label"] != right["label"] or abs(left["confidence"] - right["confidence"]) > CONFIDENCE:
        return False
    return all(abs(left["box"][side] - right["box"][side]) <= PIXELS for side in left["box"])
