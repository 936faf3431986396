"""Gives Pods the one node, and tells of those that wait because it is cordoned."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from slipway.kube.client import Kube
from slipway.kube.errors import Conflict, KubeError, NotFound
from slipway.kube.kinds import POD
from slipway.kube.reflector import backoff_s
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.references import NODE_NAME
from slipway.onebox.runner.scheduling import NO_NODE, Object, may_begin, unscheduled_status

COMPONENT = "default-scheduler"
TRIES = 20

log = logging.getLogger(__name__)


class Scheduler:
    """``takes`` each Pod that has not begun; it never waits. ``forget`` whose Pods are gone."""

    def __init__(self, kube: Kube, events: Events, node: Callable[[], Object | None]) -> None:
        self._kube = kube
        self._events = events
        self._node = node
        self._waiting: set[str] = set()
        self._bound: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def takes(self, pod: Object) -> bool:
        """Whether it may begin; then it gets its node, else its condition and an event, once."""
        uid = str(pod["metadata"]["uid"])
        if may_begin(pod, self._node()):
            self._waiting.discard(uid)
            if not pod["spec"].get("nodeName") and uid not in self._bound:
                self._bound.add(uid)
                self._write(pod, {"spec": {"nodeName": NODE_NAME}})
            return True
        if uid not in self._waiting:
            self._waiting.add(uid)
            self._events.record(pod, "FailedScheduling", NO_NODE, is_warning=True, component=COMPONENT)
            self._write(pod, {"status": unscheduled_status(time.time())}, subresource="status")
        return False

    def forget(self, known: Collection[str]) -> None:
        """``known``: the uids that there are."""
        self._waiting.intersection_update(known)
        self._bound.intersection_update(known)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _write(self, pod: Object, change: Mapping[str, Any], *, subresource: str | None = None) -> None:
        task = asyncio.create_task(self._patch(pod["metadata"], change, subresource))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _patch(self, meta: Object, change: Mapping[str, Any], subresource: str | None) -> None:
        name, namespace, body = meta["name"], meta["namespace"], {"metadata": {"uid": meta["uid"]}, **change}
        for attempt in range(1, TRIES + 1):
            try:
                await self._kube.patch(POD, name, body, type="merge", namespace=namespace, subresource=subresource)
            except (NotFound, Conflict):  # it is gone, or another has its name
                return
            except KubeError as exc:
                log.warning("%s/%s: %s is not written: %s", namespace, name, ", ".join(change), exc)
                await asyncio.sleep(backoff_s(attempt))
            else:
                return
