"""Where a Pod shows its metrics: annotations ``prometheus.io/*`` and the names of its ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCRAPE, PATH, PORT = "prometheus.io/scrape", "prometheus.io/path", "prometheus.io/port"
DEFAULT_PATH = "/metrics"
METRICS_PORT = "metrics"
EXECUTOR, EXECUTOR_PORT = "seldon-container-engine", "http"
"""An executor answers there; its container has no port of the other name (contract section 2.4)."""


@dataclass(frozen=True)
class Exposition:
    """One metric path. ``container`` '' where an annotation names a port of the whole Pod."""

    container: str
    url: str


def expositions(pod: Mapping[str, Any]) -> tuple[Exposition, ...]:
    """Of a Pod that says ``prometheus.io/scrape: "true"`` and has an address: none else."""
    annotations = pod["metadata"].get("annotations") or {}
    address = (pod.get("status") or {}).get("podIP")
    if annotations.get(SCRAPE) != "true" or not address:
        return ()
    path = "/" + str(annotations.get(PATH) or DEFAULT_PATH).lstrip("/")
    port = str(annotations.get(PORT) or "")
    if port:
        return (Exposition("", f"http://{address}:{port}{path}"),) if port.isdecimal() else ()
    return tuple(
        Exposition(container["name"], f"{_scheme(container)}://{address}:{port['containerPort']}{path}")
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or ()
        if port.get("name") == (EXECUTOR_PORT if container["name"] == EXECUTOR else METRICS_PORT)
    )


def _scheme(container: Mapping[str, Any]) -> str:
    """An executor with a certificate speaks TLS only, as its readiness probe says."""
    probe = (container.get("readinessProbe") or {}).get("httpGet") or {}
    return str(probe.get("scheme", "HTTP")).lower() if container["name"] == EXECUTOR else "http"
