"""What docs/compatibility.md says of a behaviour, as a mark of the test that holds it under both start commands."""

from __future__ import annotations

import pytest

SAME, BETTER = "same", "better"
MARK = "row"


def same(row: int) -> pytest.MarkDecorator:
    """The test passes under 1.17.1 and under ours."""
    return pytest.mark.row(row, SAME)


def better(row: int) -> pytest.MarkDecorator:
    """The test passes under ours, and its assertions fail under 1.17.1: the suite fails where they do not."""
    return pytest.mark.row(row, BETTER)
