"""How a test says what it found: one complaint a line."""

from __future__ import annotations

from collections.abc import Iterable


def assert_none(found: Iterable[str]) -> None:
    """Raises AssertionError with every complaint on a line of its own; pytest would cut a list short."""
    complaints = list(found)
    if complaints:
        raise AssertionError("\n".join(["", *complaints]))
