"""Lines of the gateway's access log → those that were asked for, as a table or as they are. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.cli.columns import render_columns
from slipway.onebox.mesh.replies import MALFORMED_REQUEST

Entry = Mapping[str, Any]
CLIENT_CLOSED = "CLIENT_CLOSED"
CLIENT_CLOSED_STATUS = 499
"""Nobody's status in HTTP; nginx began to write it down for a client that did not wait for its answer."""
CLIENT_LEFT = frozenset({"downstream_remote_disconnect", "http2.remote_reset"})
"""Envoy's details (its StreamInfo::ResponseCodeDetailValues) of a connection, or a stream of HTTP/2, that the client ended."""
UNREAD = ("http2.", "codec_error")
"""What they begin with where Envoy reset a stream, or a connection, of HTTP/2 that it could not read."""
HEADINGS = (
    "TIME", "PREDICTOR", "VERSION", "CODE", "REASON", "MS", "IN", "OUT", "RETRIES", "POD", "METHOD", "PATH", "PUID",
)  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """What an entry must be; None where it does not matter. ``since`` as the log writes time, ``status`` 404 or 4xx."""

    deployment: str | None = None
    namespace: str | None = None
    predictor: str | None = None
    status: str | None = None
    reason: str | None = None
    since: str = ""

    def takes(self, entry: Entry) -> bool:
        exact = (
            ("deployment", self.deployment),
            ("namespace", self.namespace),
            ("predictor", self.predictor),
            ("reason", self.reason),
        )
        is_status = self.status is None or _is_status(entry.get("status"), self.status)
        is_recent = str(entry.get("time") or "") >= self.since
        return is_status and is_recent and all(value in (None, entry.get(key)) for key, value in exact)


def _is_status(status: Any, wanted: str) -> bool:
    text = str(status)
    return text[:1] == wanted[0] if wanted.lower().endswith("xx") else text == wanted


def parse_line(line: str) -> Entry | None:
    """None for what is no line of the log, such as the torn one of an Envoy that was killed."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return _ended(entry) if isinstance(entry, dict) and isinstance(entry.get("time"), str) else None


def _ended(entry: Entry) -> Entry:
    """With what stands for the status 0 that Envoy writes where nothing was answered, and why that was.

    A client that left in the middle of its answer has the status that it read.
    """
    details = str(entry.get("details"))
    is_answered, is_left = entry.get("status") != 0, details in CLIENT_LEFT
    if is_left:
        status = entry.get("status") if is_answered else CLIENT_CLOSED_STATUS
        return {**entry, "status": status, "reason": entry.get("reason") or CLIENT_CLOSED}
    if is_answered:
        return entry
    return {**entry, "status": None, "reason": MALFORMED_REQUEST if details.startswith(UNREAD) else entry.get("reason")}


def retries(entry: Entry) -> int:
    """How often it was tried again: the first attempt is none."""
    attempts = entry.get("attempts")
    return max(attempts - 1, 0) if isinstance(attempts, int) else 0


def render_entries(entries: Sequence[Entry]) -> str:
    """A table, the oldest first; of a line that follows others, ``row`` alone is enough."""
    if not entries:
        return "no such request in the access log"
    return render_columns([HEADINGS, *(row(entry) for entry in entries)])


def row(entry: Entry) -> list[str]:
    """The cells of one request; ``-`` is what it did not have."""
    return [_cell(value) for value in _values(entry)]


def _values(entry: Entry) -> Iterable[Any]:
    grpc = entry.get("grpc_status")
    status = entry.get("status")
    yield str(entry.get("time"))[:23].replace("T", " ")
    yield entry.get("predictor")
    yield entry.get("version")
    yield f"{status} {grpc}" if grpc and grpc != "OK" else status
    yield entry.get("reason")
    yield entry.get("duration_ms")
    yield entry.get("bytes_received")
    yield entry.get("bytes_sent")
    yield retries(entry)
    yield entry.get("pod")
    yield entry.get("method")
    yield entry.get("path")
    yield entry.get("puid")


def _cell(value: Any) -> str:
    return "-" if value in (None, "") else str(value)
