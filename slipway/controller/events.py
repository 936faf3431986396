"""Events of a SeldonDeployment; one that happens again is counted, not repeated."""

from __future__ import annotations

import hashlib
import logging
from typing import Any, Literal

from slipway.contract.sdep import GROUP, KIND, SeldonDeployment
from slipway.controller.meta import MANAGER
from slipway.kube.client import Kube
from slipway.kube.errors import ApiError, NotFound
from slipway.kube.kinds import EVENT

log = logging.getLogger(__name__)
MAX_MESSAGE = 1024  # the API refuses longer ones


async def record(
    kube: Kube,
    sdep: SeldonDeployment,
    reason: str,
    message: str,
    *,
    now: str,
    kind: Literal["Normal", "Warning"] = "Normal",
) -> None:
    """Write or count one Event (core/v1). An API that refuses it is logged: what the event is about has happened."""
    message = message[:MAX_MESSAGE]
    digest = hashlib.sha256(f"{sdep.uid}/{reason}/{message}".encode()).hexdigest()[:16]
    try:
        await _write(kube, _event(sdep, f"{sdep.name}.{digest}", reason, message, now=now, kind=kind))
    except ApiError as error:
        log.warning("%s/%s: no event %s: %s", sdep.namespace, sdep.name, reason, error)


async def _write(kube: Kube, event: dict[str, Any]) -> None:
    name, namespace = event["metadata"]["name"], event["metadata"]["namespace"]
    try:
        found = await kube.get(EVENT, name, namespace=namespace)
    except NotFound:
        await kube.create(event, field_manager=MANAGER)
        return
    change = {"count": int(found.get("count") or 1) + 1, "lastTimestamp": event["lastTimestamp"]}
    await kube.patch(EVENT, name, change, type="merge", namespace=namespace, field_manager=MANAGER)


def _event(sdep: SeldonDeployment, name: str, reason: str, message: str, *, now: str, kind: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": sdep.namespace},
        "involvedObject": {
            "apiVersion": f"{GROUP}/v1",
            "kind": KIND,
            "name": sdep.name,
            "namespace": sdep.namespace,
            "uid": sdep.uid,
        },
        "reason": reason,
        "message": message,
        "type": kind,
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "reportingInstance": MANAGER,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
