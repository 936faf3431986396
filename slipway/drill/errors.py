"""What can go wrong around a drill, as opposed to in it."""

from __future__ import annotations


class DrillError(Exception):
    """A drill could not be held: the message says what was missing and what would be right."""
