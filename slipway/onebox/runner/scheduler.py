"""Gives Pods the one node, and tells of those that wait because it is full or cordoned."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from slipway.kube.client import Kube
from slipway.kube.errors import Conflict, KubeError, NotFound
from slipway.kube.kinds import POD
from slipway.kube.reflector import backoff_s
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.references import NODE_NAME
from slipway.onebox.runner.scheduling import Object, has_begun, has_ended, obstacle, placed, unscheduled_status

COMPONENT = "default-scheduler"
TRIES = 20
MAX_WRITES = 8
"""At a time: a Job may make thousands of Pods that all wait."""

log = logging.getLogger(__name__)


class Scheduler:
    """``see`` all Pods; then ``takes`` each that has not begun. Neither waits."""

    def __init__(
        self,
        kube: Kube,
        events: Events,
        node: Callable[[], Object | None],
        claims: Callable[[], Mapping[tuple[str, str], Object]] = dict,
    ) -> None:
        self._kube = kube
        self._events = events
        self._node = node
        self._claims = claims
        self._places: set[str] = set()
        self._promised = 0  # to Pods that are being made, and that nobody has seen yet
        self._waiting: dict[str, str] = {}  # why
        self._bound: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(MAX_WRITES)

    def see(self, pods: Mapping[str, Object]) -> None:
        """``pods`` by uid. Those that are gone or have ended give up their places."""
        self._promised = 0
        self._places = {
            uid for uid, pod in pods.items() if not has_ended(pod) and (uid in self._places or has_begun(pod))
        }
        self._waiting = {uid: why for uid, why in self._waiting.items() if uid in pods}
        self._bound.intersection_update(pods)

    def place(self, pod: Object) -> Object:
        """A Pod as a workload is to make it: with its node, where there is a place."""
        made = placed(pod, self._node(), len(self._places) + self._promised, self._claims())
        self._promised += made is not pod
        return made

    def takes(self, pod: Object, *, is_there: bool = False) -> bool:
        """Whether it may begin; then it gets its node, else its condition and an event, once for each reason.

        ``is_there``: it began before this runner did.
        """
        uid = str(pod["metadata"]["uid"])
        if is_there or uid in self._places or has_ended(pod):
            why = ""
        else:
            why = obstacle(pod, self._node(), len(self._places), self._claims())
        if why:
            self._wait(uid, pod, why)
            return False
        if not has_ended(pod):
            self._places.add(uid)
        self._waiting.pop(uid, None)
        if not pod["spec"].get("nodeName") and uid not in self._bound:
            self._bound.add(uid)
            self._write(pod, {"spec": {"nodeName": NODE_NAME}})
        return True

    def _wait(self, uid: str, pod: Object, why: str) -> None:
        if self._waiting.get(uid) != why:
            self._waiting[uid] = why
            self._events.record(pod, "FailedScheduling", why, is_warning=True, component=COMPONENT)
            self._write(pod, {"status": unscheduled_status(why, time.time())}, subresource="status")

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
                async with self._turn:
                    await self._kube.patch(POD, name, body, type="merge", namespace=namespace, subresource=subresource)
            except (NotFound, Conflict):  # it is gone, or another has its name
                return
            except KubeError as exc:
                log.warning("%s/%s: %s is not written: %s", namespace, name, ", ".join(change), exc)
                await asyncio.sleep(backoff_s(attempt))
            else:
                return
