"""Which header fields pass through, and when a request's own deadline is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from slipway.contract import headers
from slipway.onebox.activator.limits import ANSWER_TIMEOUT_S, MARGIN_S, UNKNOWN_BYTES

HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te"),
        *("trailer", "transfer-encoding", "upgrade"),
    }
)
"""RFC 9110 section 7.6.1: of one connection, never of the next."""
EXPECTED_MS = "x-envoy-expected-rq-timeout-ms"
"""Envoy's router says in it how long it will wait for this try."""
NO_RETRY = ("x-envoy-ratelimited", "true")
"""Envoy does not try a reply again that has it (router filter, ``x-envoy-ratelimited``): waiting anew helps nobody."""
SHADOW = "-shadow"
"""Envoy's router appends it to the host of a mirrored request (``RequestMirrorPolicy``)."""


def is_mirrored(host: str) -> bool:
    """Of a ``Host``, with or without a port."""
    return host.rpartition(":")[0].endswith(SHADOW) or host.endswith(SHADOW)


def passed_on(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without what belongs to the connection or to the activator."""
    pairs = list(pairs)
    named = {word.strip().lower() for name, value in pairs if name.lower() == "connection" for word in value.split(",")}
    dropped = HOP_BY_HOP | named | {headers.WAKES}
    return [(name, value) for name, value in pairs if name.lower() not in dropped]


def patience_s(fields: Mapping[str, str]) -> float:
    """How long the gateway waits for an answer, less a margin in which to give ours."""
    text = fields.get(EXPECTED_MS, "")
    waits_s = int(text) / 1000 if text.isascii() and text.isdigit() and len(text) < 10 else ANSWER_TIMEOUT_S
    return max(0.0, waits_s - MARGIN_S)


def body_bytes(fields: Mapping[str, str]) -> int:
    """Declared, or UNKNOWN_BYTES."""
    text = fields.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else UNKNOWN_BYTES
