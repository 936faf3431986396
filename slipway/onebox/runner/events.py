"""Events of Pods and workloads: written in the background, repeated ones counted instead of written again."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from slipway.kube.client import Kube
from slipway.kube.errors import AlreadyExists, KubeError, NotFound
from slipway.kube.kinds import EVENT
from slipway.onebox.runner.moments import time_text
from slipway.onebox.runner.references import NODE_NAME

MAX_WAITING = 1000
"""Events not yet written; the newest are dropped beyond that, with a line in the log."""
MAX_REMEMBERED = 2000
"""Events whose repetitions are counted."""
MAX_MESSAGE_CHARS = 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Happening:
    """One event. ``subject`` is the object's apiVersion, kind, namespace, name and uid."""

    subject: tuple[str, str, str, str, str]
    kind: Literal["Normal", "Warning"]
    reason: str
    message: str
    component: str


class Events:
    """``record`` never blocks and never fails; ``run`` writes."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._queue: asyncio.Queue[Happening] = asyncio.Queue(MAX_WAITING)
        self._counts: OrderedDict[Happening, int] = OrderedDict()

    def record(
        self, obj: Mapping[str, Any], reason: str, message: str, *, is_warning: bool = False, component: str = "runner"
    ) -> None:
        meta = obj["metadata"]
        subject = (obj["apiVersion"], obj["kind"], meta.get("namespace", "default"), meta["name"], meta["uid"])
        kind: Literal["Normal", "Warning"] = "Warning" if is_warning else "Normal"
        try:
            self._queue.put_nowait(Happening(subject, kind, reason, message[:MAX_MESSAGE_CHARS], component))
        except asyncio.QueueFull:
            log.warning("event dropped, %d are waiting: %s %s", MAX_WAITING, reason, message)

    def cannot_plan(self, obj: Mapping[str, Any], error: Exception) -> None:
        """``obj`` cannot be read: whoever looks at it finds why, and the log has where."""
        meta = obj["metadata"]
        self.record(obj, "FailedPlan", f"{type(error).__name__}: {error}", is_warning=True)
        log.error("%s %s/%s cannot be planned", obj["kind"], meta.get("namespace"), meta["name"], exc_info=error)

    async def run(self) -> None:
        while True:
            happening = await self._queue.get()
            try:
                await self._write(happening)
            except KubeError as exc:  # the namespace may be going, or the API; an event is not worth a retry
                log.warning("event not written: %s: %s", happening.reason, exc)

    async def _write(self, happening: Happening) -> None:
        count = self._counts.pop(happening, 0) + 1
        self._counts[happening] = count
        if len(self._counts) > MAX_REMEMBERED:
            self._counts.popitem(last=False)
        event = render_event(happening, now=time.time())
        name, namespace = event["metadata"]["name"], event["metadata"]["namespace"]
        if count > 1:
            repeated = {"count": count, "lastTimestamp": event["lastTimestamp"]}
            try:
                await self._kube.patch(EVENT, name, repeated, type="merge", namespace=namespace)
            except NotFound:
                self._counts[happening] = 1
            else:
                return
        try:
            await self._kube.create(event)
        except AlreadyExists:  # written by the runner before this one
            found = await self._kube.get(EVENT, name, namespace=namespace)
            self._counts[happening] = int(found.get("count") or 1) + 1
            repeated = {"count": self._counts[happening], "lastTimestamp": event["lastTimestamp"]}
            await self._kube.patch(EVENT, name, repeated, type="merge", namespace=namespace)


def render_event(happening: Happening, *, now: float) -> dict[str, Any]:
    """The name follows from the content, so that a repetition finds the first one."""
    api_version, kind, namespace, name, uid = happening.subject
    digest = hashlib.sha256(repr(happening).encode()).hexdigest()[:16]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{digest}", "namespace": namespace},
        "involvedObject": {"apiVersion": api_version, "kind": kind, "namespace": namespace, "name": name, "uid": uid},
        "type": happening.kind,
        "reason": happening.reason,
        "message": happening.message,
        "count": 1,
        "firstTimestamp": time_text(now),
        "lastTimestamp": time_text(now),
        "source": {"component": happening.component, "host": NODE_NAME},
        "reportingComponent": happening.component,
        "reportingInstance": NODE_NAME,
    }
