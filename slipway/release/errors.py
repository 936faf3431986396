"""Why something is not rolled back.

ReleaseError
├── RollbackRefused   there is nothing to go back to, or not this way; the sentence says what to do instead
└── RollbackTimeout   it was asked for, and the controller has not carried it out in time
"""

from __future__ import annotations


class ReleaseError(Exception):
    """Base of both."""


class RollbackRefused(ReleaseError):
    """Nothing was written."""


class RollbackTimeout(ReleaseError):
    """The request stands: the controller carries it out when it can."""
