"""One payload event: what is sent of a payload, in CloudEvents' binary mode over HTTP (contract §3.10).

Format: CloudEvents 1.0, HTTP protocol binding, binary content mode: attributes are ``ce-*`` headers, percent-encoded where
they are not plain ASCII; the body is the payload itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit
from uuid import uuid4

from slipway.contract import headers
from slipway.executor.dialect import Dialect
from slipway.executor.graph import EventKind, Node
from slipway.executor.limits import LOG_ENTRY_BYTES
from slipway.executor.payload import Payload, inflate
from slipway.serving.errors import ServingError

SKIP_LOGGING = "seldon-skip-logging"
SKIPPING = frozenset({"true", "on", "1"})
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose payloads these are; attributes of every event."""

    source: str
    deployment: str
    namespace: str
    predictor: str
    protocol: str


@dataclass(frozen=True, slots=True)
class Event:
    """A payload as it passed; its logged form is made when it is sent."""

    url: str = field(repr=False)
    """May hold a password."""
    kind: EventKind
    node: str
    puid: str
    payload: Payload
    seen_at: float
    """Seconds since 1970."""

    @property
    def size_bytes(self) -> int:
        """What it counts for in the log's bound."""
        return len(self.payload.body) + LOG_ENTRY_BYTES


def event_of(node: Node, kind: EventKind, payload: Payload, *, puid: str, seen_at: float) -> Event:
    """ValueError for a node that has no logger."""
    if node.logger is None:
        raise ValueError(f"node {node.name} has no logger")
    return Event(node.logger.url, kind, node.name, puid, payload, seen_at)


def skips_logging(given: Mapping[str, str] | Iterable[tuple[str, str | bytes]]) -> bool:
    """Whether a request's headers or metadata ask for no log: any ``Seldon-Skip-Logging`` of ``true``, ``on`` or ``1``."""
    pairs = given.items() if isinstance(given, Mapping) else given
    values = [value for name, value in pairs if name.lower() == SKIP_LOGGING and isinstance(value, str)]
    return any(word.strip().lower() in SKIPPING for value in values for word in value.split(","))


def logged_form(event: Event, dialect: Dialect) -> Payload:
    """The payload inflated, and in the protocol's JSON where it is protobuf; as it came where it cannot be read."""
    try:
        return dialect.logged(inflate(event.payload), event.kind)
    except ServingError:  # a log shows broken messages too
        return event.payload


def event_headers(event: Event, payload: Payload, origin: Origin) -> dict[str, str]:
    """Headers of one event that carries ``payload``; ``ce-id`` is fresh."""
    attributes = {
        "id": str(uuid4()),
        "specversion": "1.0",
        "time": datetime.fromtimestamp(event.seen_at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "source": origin.source,
        "type": event.kind.value,
        "modelid": event.node,
        "requestid": event.puid,
        "inferenceservicename": origin.deployment,
        "namespace": origin.namespace,
        "endpoint": origin.predictor,
        "protocol": origin.protocol,
    }
    sent = {f"ce-{name}": quote(value, safe=_PLAIN, errors="replace") for name, value in attributes.items() if value}
    if payload.content_type:
        sent["Content-Type"] = payload.content_type.encode("ascii", errors="replace").decode()
    if payload.encoding:
        sent["Content-Encoding"] = payload.encoding
    if payload.json_bytes is not None:
        sent[headers.JSON_BYTES] = str(payload.json_bytes)
    return sent


def shown_url(url: str) -> str:
    """Scheme, host and port: everything else may be secret (a password, a webhook's path) and stays out of logs."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
