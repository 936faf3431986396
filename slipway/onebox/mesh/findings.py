"""Reports what cannot be honoured: once each, as a log line and a Warning event, and only if it lasts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from slipway.kube.client import Kube
from slipway.kube.errors import AlreadyExists, KubeError
from slipway.kube.kinds import KINDS, Kind
from slipway.onebox.mesh.ir import Finding
from slipway.onebox.mesh.limits import FINDING_SETTLE_S, MAX_REPORTED

log = logging.getLogger(__name__)
_KINDS = {kind.kind: kind for kind in KINDS}
Followed = Callable[[Kind], Mapping[tuple[str, str], dict[str, Any]]]
"""Kind → ``(namespace, name)`` → object, as they are now."""


class Findings:
    """Remembers since when each finding holds. One that goes and comes back is reported again."""

    def __init__(self) -> None:
        self._since: dict[Finding, float] = {}
        self._reported: set[Finding] = set()

    def update(self, findings: Iterable[Finding], now: float) -> None:
        current = sorted(set(findings))[:MAX_REPORTED]
        self._since = {finding: self._since.get(finding, now) for finding in current}
        self._reported &= self._since.keys()

    def due(self, now: float) -> list[Finding]:
        """Those that have held for FINDING_SETTLE_S and were not reported; objects of one apply arrive one by one."""
        found = [
            finding
            for finding, since in self._since.items()
            if finding not in self._reported and now - since >= FINDING_SETTLE_S
        ]
        self._reported.update(found)
        return found


async def report(kube: Kube, findings: Iterable[Finding], followed: Followed) -> None:
    """A log line and an event for each; an API that refuses events does not stop the mesh."""
    for finding in findings:
        log.warning("%s", finding)
        try:
            await kube.create(event_of(finding, datetime.now(UTC), uid=uid_of(finding, followed)))
        except AlreadyExists:
            log.debug("%s: the event is there already", finding)
        except KubeError as exc:
            log.warning("no event could be written for it: %s", exc)


def uid_of(finding: Finding, followed: Followed) -> str:
    """Of the object that it is about; empty where that went meanwhile."""
    kind = _KINDS.get(finding.kind)
    obj = followed(kind).get((finding.namespace, finding.name)) if kind else None
    return str(obj["metadata"].get("uid", "")) if obj else ""


def event_of(finding: Finding, now: datetime, *, uid: str) -> dict[str, Any]:
    """A core/v1 Event; its name is the finding's digest and its second. `kubectl describe` finds it by ``uid``."""
    digest = hashlib.sha256(f"{finding} {now:%Y%m%d%H%M%S}".encode()).hexdigest()[:16]
    stamp = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{finding.name}.{digest}", "namespace": finding.namespace},
        "involvedObject": {
            "apiVersion": kind.api_version if (kind := _KINDS.get(finding.kind)) else "v1",
            "kind": finding.kind,
            "namespace": finding.namespace,
            "name": finding.name,
            "uid": uid,
        },
        "reason": finding.reason,
        "message": f"{finding.field}: {finding.message}",
        "type": "Warning",
        "source": {"component": "slipway-mesh"},
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
