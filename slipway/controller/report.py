"""Writes statuses, and the Events that tell of their changes; whoever wrote in between is heard, not overwritten."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from slipway.contract.sdep import SeldonDeployment
from slipway.contract.without_effect import without_effect
from slipway.controller.events import record
from slipway.controller.follow_status import follow_change
from slipway.controller.meta import MANAGER, Object
from slipway.controller.queue import Key
from slipway.controller.status import CREATING, FAILED
from slipway.controller.view import View
from slipway.kube.client import Kube
from slipway.kube.kinds import SELDON_DEPLOYMENT

OVERWRITTEN = "somebody else has written this status since, otherwise: is a second controller running?"


@dataclass(frozen=True)
class Reports:
    """One status at a time, each on top of the version of the object that it was made of."""

    kube: Kube
    deployments: View
    written: dict[Key, str] = field(default_factory=dict)
    """Digest of uid and status as this process last wrote it, by SeldonDeployment."""

    is_one_machine: bool = True

    def forget(self, key: Key) -> None:
        self.written.pop(key, None)

    async def write(self, obj: Object, status: Object, *, reason: str) -> None:
        """Write the status where it differs, and an event where the state does.

        Raises:
            Conflict: the object has changed since; nothing is written, and the next look knows the change.
        """
        old, sdep = obj.get("status") or {}, light(obj)
        if status == old:
            return
        await self._store(obj, status)
        key = (sdep.namespace, sdep.name)
        if self.written.get(key, _digest(sdep, old)) != _digest(sdep, old):
            await self._tell(sdep, "StatusOverwritten", OVERWRITTEN, kind="Warning")
        self.written[key] = _digest(sdep, status)
        if (old.get("state"), old.get("description")) != (status["state"], status.get("description")):
            await self._tell_of_state(obj, old, status, reason)
        if change := follow_change(old, status):
            await self._tell(sdep, change.reason, change.message, kind=change.kind)

    async def _store(self, obj: Object, status: Object) -> None:
        meta = obj["metadata"]
        body = [
            {"op": "add", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
            {"op": "add", "path": "/status", "value": status},
        ]
        result = await self.kube.patch(
            SELDON_DEPLOYMENT,
            meta["name"],
            body,
            type="json",
            namespace=meta["namespace"],
            subresource="status",
            field_manager=MANAGER,
        )
        self.deployments.wrote(SELDON_DEPLOYMENT, meta["namespace"], meta["name"], result)

    async def _tell_of_state(self, obj: Object, old: Mapping[str, Any], status: Object, reason: str) -> None:
        sdep = light(obj)
        if message := _change(old, status):
            await self._tell(sdep, reason, message, kind="Warning" if status["state"] == FAILED else "Normal")
        for text in without_effect(obj, is_one_machine=self.is_one_machine):
            await self._tell(sdep, "NoEffect", text, kind="Warning")

    async def _tell(self, sdep: SeldonDeployment, reason: str, message: str, *, kind: str) -> None:
        await record(self.kube, sdep, reason, message, now=now(), kind=kind)  # type: ignore[arg-type]


def _change(old: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """In words; empty for a new one that is being made: the objects' own events say so."""
    if description := status.get("description"):
        return str(description)
    before, after = old.get("state", CREATING), status["state"]
    return f"{before} → {after}" if before != after else ""


def _digest(sdep: SeldonDeployment, status: Mapping[str, Any]) -> str:
    return sha256(json.dumps([sdep.uid, status], sort_keys=True).encode()).hexdigest()


def light(obj: Mapping[str, Any]) -> SeldonDeployment:
    """The identity of an object whose spec may not be readable."""
    meta = obj["metadata"]
    return SeldonDeployment(
        meta["name"], meta.get("namespace", ""), (), uid=meta.get("uid", ""), generation=meta.get("generation", 0)
    )


def now() -> str:
    """RFC 3339, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
