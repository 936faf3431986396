"""Whether a Deployment is as it should be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_ready(deployment: Mapping[str, Any]) -> bool:
    """Every replica of the current generation is there and ready; a Deployment of none is."""
    status, spec = deployment.get("status") or {}, deployment["spec"]
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return False
    wanted = spec.get("replicas", 1)
    return (
        status.get("updatedReplicas", 0) >= wanted
        and status.get("readyReplicas", 0) >= wanted
        and not status.get("unavailableReplicas")
    )
