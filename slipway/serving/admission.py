"""How much work one process takes on at a time, counted in requests and in bytes of their bodies and replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slipway.serving.errors import OVERLOADED, ServingError
from slipway.serving.limits import ANSWER_ROOM, MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES


class Admission:
    """The bounded queue in front of a component or a graph. Used from the event loop only."""

    def __init__(self, *, max_requests: int = MAX_IN_FLIGHT, max_bytes: int = MAX_IN_FLIGHT_BYTES) -> None:
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0
        self.answer_bytes = 0

    @contextmanager
    def enter(self) -> Iterator[Ticket]:
        """A place for one request until the block ends; ServingError 429 when there is none."""
        with self.receive() as ticket:
            ticket.take_place()
            yield ticket

    @contextmanager
    def receive(self) -> Iterator[Ticket]:
        """For a request whose body is still to come: it has no place before that is there, however slowly it comes.

        ServingError 429 when there is none even now.
        """
        ticket = Ticket(self)
        ticket.check_place()
        try:
            yield ticket
        finally:
            ticket.leave()


class Ticket:
    """One request, its place and the bytes that it holds."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._has_place = False
        self.held_bytes = 0
        self._answer_bytes = 0

    def check_place(self) -> None:
        """ServingError 429 when there is none."""
        admission = self._admission
        if admission.requests >= admission.max_requests:
            raise _overloaded(f"{admission.requests} requests are under way here, the limit: try again later")
        if admission.answer_bytes > admission.max_bytes:
            raise _answered_too_much(admission)

    def take_place(self) -> None:
        """From now on the request counts; once only. ServingError 429 when there is no place."""
        self.check_place()
        self._admission.requests += 1
        self._has_place = True

    def hold(self, size_bytes: int) -> None:
        """Count ``size_bytes`` more until the request ends; ServingError 429 when that is too much."""
        admission = self._admission
        if admission.bytes + size_bytes > admission.max_bytes:
            raise _overloaded(f"bodies of {admission.bytes} bytes are under way here, near the limit: try again later")
        admission.bytes += size_bytes
        self.held_bytes += size_bytes

    def hold_answer(self, size_bytes: int) -> None:
        """Count ``size_bytes`` that a node answered on the way, until the request ends; ServingError 429 when that is too much.

        Answers have ANSWER_ROOM times the bodies' room, and from one on there is no place: work that is begun comes first.
        """
        admission = self._admission
        if admission.answer_bytes + size_bytes > ANSWER_ROOM * admission.max_bytes:
            raise _answered_too_much(admission)
        admission.answer_bytes += size_bytes
        self._answer_bytes += size_bytes

    def reply(self, size_bytes: int) -> Callable[[], None]:
        """Hold a reply of that size instead of the request's body and answers, until the function is called, which outlives the ticket.

        A client that reads nothing of its reply has no place, but its reply is in memory. ServingError 429 where it is one
        too many; a reply that is alone is never.
        """
        admission = self._admission
        self._give_back_bytes()
        if admission.bytes and admission.bytes + size_bytes > admission.max_bytes:
            raise _overloaded(f"replies and bodies of {admission.bytes} bytes are under way here: try again later")
        admission.bytes += size_bytes
        held = [size_bytes]

        def written() -> None:
            admission.bytes -= held.pop() if held else 0

        return written

    def leave(self) -> None:
        """Give back the place and the bytes."""
        self._admission.requests -= self._has_place
        self._give_back_bytes()

    def _give_back_bytes(self) -> None:
        self._admission.bytes -= self.held_bytes
        self._admission.answer_bytes -= self._answer_bytes
        self.held_bytes = self._answer_bytes = 0


def _answered_too_much(admission: Admission) -> ServingError:
    return _overloaded(f"nodes' answers of {admission.answer_bytes} bytes are under way here: try again later")


def _overloaded(info: str) -> ServingError:
    return ServingError(info, status_code=429, reason=OVERLOADED)
