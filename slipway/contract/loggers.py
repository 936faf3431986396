"""The payload logger of a node: what its modes are, and which URLs events can be sent to (contract section 1.3)."""

from __future__ import annotations

from urllib.parse import urlsplit

LOGGER_MODES = ("request", "response", "all")
KAFKA_BROKER = "LOGGER_KAFKA_BROKER"
"""The orchestrator's variable that sends Seldon's events to Kafka instead of a URL."""
NO_KAFKA = f"{KAFKA_BROKER} is not offered: payload events are sent over HTTP, to logger.url or the default endpoint"


def check_log_url(url: str) -> None:
    """ValueError, without the URL's own text (it may hold a password), if it is no http or https URL with a host."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise ValueError(f"logger url cannot be read: {_kind(error)}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"logger url begins with {parts.scheme[:20]!r}: events are sent to http:// or https://")
    if not host or port == 0:
        raise ValueError("logger url names no host and port: write for example http://events.default.svc:8080/")
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError("logger url has a space or a control character in it")


def _kind(error: ValueError) -> str:
    """What is wrong, in words of our own: those of urlsplit repeat parts of the URL."""
    return "its port is no number from 1 to 65535" if "ort" in str(error) else "its host is malformed"
