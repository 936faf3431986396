"""The `fault` of a VirtualService's route: delays and errors made on purpose, to see what clients make of them."""

from __future__ import annotations

from collections.abc import Callable

from slipway.onebox.mesh.fields import Reader
from slipway.onebox.mesh.ir import Fault

GRPC_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
"""In the order of their numbers (https://grpc.github.io/grpc/core/md_doc_statuscodes.html)."""
_LEAST_STATUS, _MOST_STATUS = 200, 599  # what Envoy takes


def read_fault(reader: Reader, percent: Callable[[Reader, str], float]) -> Fault | None:
    """None where there is none, or none that can be made; ``percent`` reads Istio's ``{value: …}``."""
    reader.only({"delay", "abort"})
    delay, abort = reader.child("delay"), reader.child("abort")
    delay.only({"fixedDelay", "percentage"})
    abort.only({"httpStatus", "grpcStatus", "percentage"})
    http, grpc = _http(abort), _grpc(abort)
    fault = Fault(
        delay_s=delay.seconds("fixedDelay", 0.0),
        delay_percent=percent(delay, "percentage") if delay.data else 0.0,
        http_status=http,
        grpc_status=grpc if grpc is not None else 0,
        abort_percent=percent(abort, "percentage") if http or grpc is not None else 0.0,
    )
    return fault if fault.delay_s or fault.abort_percent else None


def _http(reader: Reader) -> int:
    status = reader.number("httpStatus", 0)
    if status and not _LEAST_STATUS <= status <= _MOST_STATUS:
        reader.report("httpStatus", f"{status} is not from {_LEAST_STATUS} to {_MOST_STATUS}: nothing is aborted")
        return 0
    return status


def _grpc(reader: Reader) -> int | None:
    word = reader.text("grpcStatus").upper()
    if word in GRPC_CODES:
        return GRPC_CODES.index(word)
    if word.isdigit() and len(word) <= 2 and int(word) < len(GRPC_CODES):
        return int(word)
    if word:
        reader.report("grpcStatus", f"{word[:40]!r} is no status of gRPC: nothing is aborted")
    return None
