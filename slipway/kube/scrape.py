"""Where a Pod shows its metrics: annotations ``prometheus.io/*`` and the names of its ports."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SCRAPE, PATH, PORT = "prometheus.io/scrape", "prometheus.io/path", "prometheus.io/port"
DEFAULT_PATH = "/metrics"
METRICS_PORT = "metrics"
MAX_PORT = 65535
EXECUTOR, EXECUTOR_PORT = "seldon-container-engine", "http"
"""An executor answers there; its container has no port of the other name (contract section 2.4)."""


@dataclass(frozen=True)
class Exposition:
    """One metric path. ``container`` '' where an annotation names a port of the whole Pod."""

    container: str
    url: str


def expositions(pod: Mapping[str, Any]) -> tuple[Exposition, ...]:
    """Of a Pod that says ``prometheus.io/scrape: "true"`` and has an address: none else. Of anybody's Pod: it never raises."""
    annotations = pod["metadata"].get("annotations") or {}
    host = _host((pod.get("status") or {}).get("podIP"))
    if annotations.get(SCRAPE) != "true" or not host:
        return ()
    path = "/" + str(annotations.get(PATH) or DEFAULT_PATH).lstrip("/")
    if annotations.get(PORT):
        return tuple(Exposition("", f"http://{host}:{port}{path}") for port in _named_port(str(annotations[PORT])))
    return tuple(
        Exposition(container["name"], f"{_scheme(container)}://{host}:{number}{path}")
        for container in pod["spec"]["containers"]
        for number in _metrics_ports(container)
    )


def _named_port(text: str) -> tuple[int, ...]:
    """The number that an annotation says, in digits; nothing where it says none."""
    is_short = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PORT))
    return (int(text),) if is_short and 0 < int(text) <= MAX_PORT else ()


def _metrics_ports(container: Mapping[str, Any]) -> Iterator[int]:
    """Of the ports with the name; one without a number, or with one that is no port's, shows nothing."""
    wanted = EXECUTOR_PORT if container["name"] == EXECUTOR else METRICS_PORT
    for port in container.get("ports") or ():
        number = port.get("containerPort")
        if port.get("name") == wanted and isinstance(number, int) and 0 < number <= MAX_PORT:
            yield number


def _host(address: object) -> str:
    """As it stands in a URL; '' for what is no address."""
    try:
        known = ipaddress.ip_address(str(address))
    except ValueError:
        return ""
    return str(known) if known.version == 4 else f"[{known}]"


def _scheme(container: Mapping[str, Any]) -> str:
    """An executor with a certificate speaks TLS only, as its readiness probe says."""
    probe = (container.get("readinessProbe") or {}).get("httpGet") or {}
    return "https" if container["name"] == EXECUTOR and str(probe.get("scheme")).upper() == "HTTPS" else "http"
