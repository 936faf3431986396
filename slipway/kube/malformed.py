"""What reading an object raises whose fields are not of the form that the reader expects."""

from __future__ import annotations

MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""A loop that reads everybody's objects catches these for each of them, as the API does not check every field: one must not
end what the others need."""
