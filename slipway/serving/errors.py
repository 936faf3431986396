"""What went wrong, as status, machine code and sentence; both wires render it from here."""

from __future__ import annotations

import re
from dataclasses import dataclass

import grpc

BAD_DATA = "MICROSERVICE_BAD_DATA"
INTERNAL = "MICROSERVICE_INTERNAL_ERROR"
PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
REQUEST_TIMEOUT = "REQUEST_TIMEOUT"
OVERLOADED = "OVERLOADED"
NOT_FOUND = "NOT_FOUND"
METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
METHOD_UNKNOWN = "METHOD_UNKNOWN"
NOT_READY = "NOT_READY"

MAX_INFO_CHARS = 4096
"""An error's sentence is cut here: a component may put its whole input into an exception's text."""


_MACHINE_CODE = re.compile(r"[A-Z][A-Z0-9_]*")

MAX_DETAILS_BYTES = 4096
"""A gRPC status text as it travels: in a header, percent-encoded. Clients drop calls whose headers pass 8 KiB."""


_GRPC_STATUSES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


@dataclass(frozen=True)
class Failure:
    """One error as a client sees it."""

    status_code: int
    reason: str
    info: str


class ServingError(Exception):
    """An error that says itself what the client gets; the default is the client's own mistake."""

    def __init__(self, info: str, *, status_code: int = 400, reason: str = BAD_DATA) -> None:
        super().__init__(info)
        self.status_code = status_code
        self.reason = reason


def failure_of(error: BaseException) -> Failure:
    """Any exception as a Failure: its ``status_code`` and ``reason`` attributes count, whatever its class.

    ``status_code`` must be an error status (400 to 599); without one the answer is 500, and a ``reason`` is something
    else (UnicodeError's, an HTTP client's), as is one that does not look like a machine code.
    ``message`` is read before ``str()``: Seldon's own exception class keeps its text there.
    """
    status_code = _attribute(error, "status_code")
    if isinstance(status_code, bool) or not isinstance(status_code, int) or not 400 <= status_code <= 599:
        return Failure(500, INTERNAL, _info(error))
    reason = _attribute(error, "reason")
    if not isinstance(reason, str) or not (_is_meant(error) or _MACHINE_CODE.fullmatch(reason)):
        reason = ""
    return Failure(status_code, _token(reason) or (INTERNAL if status_code >= 500 else BAD_DATA), _info(error))


def is_fault(error: BaseException, failure: Failure) -> bool:
    """Whether nobody meant this answer, so that the log has to say where it came from.

    Every 500 is one, and from 501 on what is no refusal of ours.
    """
    return failure.status_code == 500 or (failure.status_code > 500 and not isinstance(error, ServingError))


def _is_meant(error: BaseException) -> bool:
    """Whether its ``reason`` is the contract's, however it is written; Seldon's own class is known by its name."""
    return isinstance(error, ServingError) or type(error).__name__ == "SeldonMicroserviceException"


def _info(error: BaseException) -> str:
    message = _attribute(error, "message")
    info = message if isinstance(message, str) and message else text_of(error) or type(error).__name__
    return info[:MAX_INFO_CHARS]


def text_of(error: object) -> str:
    """``str(error)``, or what is wrong with it: a component's own exception may have a ``__str__`` that raises."""
    try:
        return str(error)
    except Exception as exc:  # noqa: BLE001 - it is the component's code
        return f"{type(error).__name__} has no text: its __str__ raises {type(exc).__name__}"


def _attribute(error: BaseException, name: str) -> object:
    """None, too, where it is a property that raises."""
    try:
        return getattr(error, name, None)
    except Exception:  # noqa: BLE001 - it is the component's code
        return None


def one_line(text: str) -> str:
    """``text`` without the control characters with which a client would write lines of a log."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _token(reason: str) -> str:
    """A reason that fits into a header: printable ASCII, one word."""
    return "".join(letter if letter.isascii() and letter.isprintable() else "_" for letter in reason[:64])


def grpc_status(status_code: int) -> grpc.StatusCode:
    """The gRPC status of an HTTP error status."""
    fallback = grpc.StatusCode.INVALID_ARGUMENT if 400 <= status_code < 500 else grpc.StatusCode.INTERNAL
    return _GRPC_STATUSES.get(status_code, fallback)


def grpc_details(text: str) -> str:
    """``text`` as far as MAX_DETAILS_BYTES carry it: gRPC writes printable ASCII but ``%`` as it is, other bytes as three."""
    text = text.encode(errors="replace").decode()
    used = 0
    for place, letter in enumerate(text):
        used += 1 if " " <= letter <= "~" and letter != "%" else 3 * len(letter.encode())
        if used > MAX_DETAILS_BYTES:
            return text[:place]
    return text


def failure_of_http(status_code: int, text: str) -> Failure:
    """The Failure of an answer that the HTTP layer itself gives (unknown path, wrong method)."""
    reasons = {404: NOT_FOUND, 405: METHOD_NOT_ALLOWED, 408: REQUEST_TIMEOUT, 413: PAYLOAD_TOO_LARGE}
    fallback = BAD_DATA if status_code < 500 else INTERNAL
    return Failure(status_code, reasons.get(status_code, fallback), text)
