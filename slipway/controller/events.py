"""Events of a SeldonDeployment; one that happens again is counted, not repeated."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from slipway.contract.sdep import GROUP, KIND, SeldonDeployment
from slipway.controller.meta import MANAGER
from slipway.kube.client import Kube
from slipway.kube.errors import NotFound
from slipway.kube.kinds import EVENT

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
    """Write or count one Event (core/v1)."""
    message = message[:MAX_MESSAGE]
    digest = hashlib.sha256(f"{sdep.uid}/{reason}/{message}".encode()).hexdigest()[:16]
    name = f"{sdep.name}.{digest}"
    try:
        found = await kube.get(EVENT, name, namespace=sdep.namespace)
    except NotFound:
        await kube.create(_event(sdep, name, reason, message, now=now, kind=kind), field_manager=MANAGER)
        return
    change = {"count": int(found.get("count") or 1) + 1, "lastTimestamp": now}
    await kube.patch(EVENT, name, change, type="merge", namespace=sdep.namespace, field_manager=MANAGER)


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
