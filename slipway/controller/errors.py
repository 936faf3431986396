"""Why a SeldonDeployment cannot be brought about.

ControllerError
├── Postponed   something it needs is away for now: tried again with a growing pause
└── Refused     it cannot work as it is written: tried again when something changes, and now and then
"""

from __future__ import annotations


class ControllerError(Exception):
    """``str()`` is the sentence for status and events."""


class Postponed(ControllerError):
    """Waits for something outside."""


class Refused(ControllerError):
    """Needs a person."""
