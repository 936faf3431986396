"""How much work one process takes on at a time, counted in requests and in bytes of their bodies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from slipway.serving.errors import OVERLOADED, ServingError
from slipway.serving.limits import MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES


class Admission:
    """The bounded queue in front of a component or a graph. Used from the event loop only."""

    def __init__(self, *, max_requests: int = MAX_IN_FLIGHT, max_bytes: int = MAX_IN_FLIGHT_BYTES) -> None:
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0

    @contextmanager
    def enter(self) -> Iterator[Ticket]:
        """A place for one request until the block ends; ServingError 429 when there is none."""
        if self.requests >= self.max_requests:
            raise _overloaded(f"{self.requests} requests are under way here, the limit: try again later")
        ticket = Ticket(self)
        self.requests += 1
        try:
            yield ticket
        finally:
            self.requests -= 1
            self.bytes -= ticket.held_bytes


class Ticket:
    """One admitted request and the bytes that it holds."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.held_bytes = 0

    def hold(self, size_bytes: int) -> None:
        """Count ``size_bytes`` more until the request ends; ServingError 429 when that is too much."""
        admission = self._admission
        if admission.bytes + size_bytes > admission.max_bytes:
            raise _overloaded(f"bodies of {admission.bytes} bytes are under way here, near the limit: try again later")
        admission.bytes += size_bytes
        self.held_bytes += size_bytes


def _overloaded(info: str) -> ServingError:
    return ServingError(info, status_code=429, reason=OVERLOADED)
