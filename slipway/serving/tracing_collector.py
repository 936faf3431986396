"""OpenTelemetry's variables of an OTLP exporter → where spans are sent, over gRPC, and with which headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from slipway.serving.tracing_jaeger import TracingError

PREFIX = "OTEL_EXPORTER_OTLP_"
DEFAULT_ENDPOINT = "http://localhost:4317"
HTTP_PORT = 4318
"""Where collectors take OTLP over HTTP, which is not spoken here."""

TIMEOUT_S = 10
"""One message to the collector with its repetitions. OTEL_EXPORTER_OTLP_TIMEOUT, in seconds as Python's SDK has it."""

MAX_TIMEOUT_S = 60

COMPRESSIONS = ("", "none", "gzip")
FILES = ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
"""What the exporter itself reads, and would go on without where it cannot."""

_HEADER = re.compile(r"[0-9a-z_.-]+")


@dataclass(frozen=True)
class Collector:
    """Who takes the spans."""

    endpoint: str = DEFAULT_ENDPOINT
    """``http://host:port``, or ``https`` for TLS."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every message; may hold a password."""
    is_compressed: bool = False
    timeout_s: int = TIMEOUT_S


def variable(environment: Mapping[str, str], end: str) -> str:
    """``OTEL_EXPORTER_OTLP_TRACES_<end>``, else ``OTEL_EXPORTER_OTLP_<end>``, else nothing."""
    names = (f"{PREFIX}TRACES_{end}", f"{PREFIX}{end}")
    return next((value for name in names if (value := environment.get(name, "").strip())), "")


def read_collector(environment: Mapping[str, str], *, default: str) -> Collector:
    """``default``: the endpoint where the environment names none.

    Raises:
        TracingError: a variable makes no sense, or asks for what is not offered.
    """
    protocol, compression = variable(environment, "PROTOCOL"), variable(environment, "COMPRESSION").lower()
    if protocol not in ("", "grpc"):
        raise TracingError(
            f"{PREFIX}PROTOCOL: {protocol[:80]!r} is not offered; spans are sent over gRPC: write grpc, and the "
            f"collector's gRPC port (usually 4317) in {PREFIX}ENDPOINT"
        )
    if compression not in COMPRESSIONS:
        raise TracingError(f"{PREFIX}COMPRESSION: {compression[:80]!r} is not one of gzip, none")
    for end in FILES:
        if (path := variable(environment, end)) and not Path(path).is_file():
            raise TracingError(f"{PREFIX}{end}: {path} is not a file")
    named = variable(environment, "ENDPOINT")
    return Collector(
        endpoint=_endpoint(environment, named) if named else default or DEFAULT_ENDPOINT,
        headers=_headers(variable(environment, "HEADERS")),
        is_compressed=compression == "gzip",
        timeout_s=whole_number(f"{PREFIX}TIMEOUT", variable(environment, "TIMEOUT"), TIMEOUT_S, most=MAX_TIMEOUT_S),
    )


def whole_number(name: str, text: str, default: int, *, most: int) -> int:
    """From 1 to ``most``; ``default`` for an empty text."""
    if not text:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise TracingError(f"{name}: {text[:80]!r} is not a number from 1 to {most}")
    return int(text)


def _endpoint(environment: Mapping[str, str], text: str) -> str:
    scheme = "http" if variable(environment, "INSECURE").lower() == "true" else "https"
    shown = repr(text.rpartition("@")[2][:200])  # without what may be a password
    try:
        parts = urlsplit(text if "://" in text else f"{scheme}://{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise TracingError(f"{PREFIX}ENDPOINT: {shown} is no address: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise TracingError(f"{PREFIX}ENDPOINT: {shown} is no address; expected e.g. {DEFAULT_ENDPOINT}")
    if "@" in parts.netloc:
        raise TracingError(f"{PREFIX}ENDPOINT holds a password; put it into {PREFIX}HEADERS")
    if parts.path.strip("/") or (port == HTTP_PORT and not variable(environment, "PROTOCOL")):
        raise TracingError(
            f"{PREFIX}ENDPOINT: {shown} takes spans over HTTP; they are sent over gRPC: write the collector's gRPC "
            f"port, e.g. {parts.scheme}://{host}:4317"
        )
    return f"{parts.scheme}://{parts.netloc}"


def _headers(text: str) -> dict[str, str]:
    """``key=value,key=value``, values percent-encoded; no error shows one of them."""
    found: dict[str, str] = {}
    for number, pair in enumerate(text.split(","), 1):
        key, equals, value = pair.partition("=")
        key, value = unquote(key).strip().lower(), unquote(value).strip(" ")
        if not pair.strip():
            continue
        if not equals or not _HEADER.fullmatch(key) or not (value.isascii() and value.isprintable()):
            raise TracingError(
                f"{PREFIX}HEADERS: entry {number} is not key=value, percent-encoded; example: api-key=abc%20def"
            )
        found[key] = value
    return found
