"""A Pod's status and annotations on their way to the API: the newest wins, written in the background until it is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from slipway.kube.client import Kube
from slipway.kube.errors import ApiError, Conflict, KubeError, NotFound, Temporary
from slipway.kube.kinds import POD
from slipway.kube.reflector import backoff_s
from slipway.onebox.runner.spec import Pod

FLUSH_TIMEOUT_S = 5.0
"""At the end of a Pod: how long its last status may take to be written."""

log = logging.getLogger(__name__)


class Report:
    """``show`` and ``annotate`` never wait."""

    def __init__(self, kube: Kube, pod: Pod) -> None:
        self._kube = kube
        self._pod = pod
        self.status: Mapping[str, Any] = {}
        self._annotations: dict[str, str] = {}
        self._is_gone = False
        self._wanted = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()

    def show(self, status: Mapping[str, Any]) -> None:
        if status != self.status:
            self.status = status
            self._mark()

    def annotate(self, key: str, value: str) -> None:
        if self._pod.annotations.get(key) != value:
            self._annotations[key] = value
            self._mark()

    async def flush(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                await self._written.wait()
        except TimeoutError:
            log.warning("%s: its last status was not written", "/".join(self._pod.key))

    async def run(self) -> None:
        failures = 0
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._write()
                failures = 0
            except (NotFound, Conflict):  # the Pod is gone, or another has its name
                self._is_gone = True
            except KubeError as exc:
                failures += 1
                refused = isinstance(exc, ApiError) and not isinstance(exc, Temporary)
                log.warning("%s: status not written: %s", "/".join(self._pod.key), exc)
                self._wanted.set()
                await asyncio.sleep(backoff_s(failures + (4 if refused else 0)))
                continue
            if not self._wanted.is_set():
                self._written.set()

    def _mark(self) -> None:
        if not self._is_gone:
            self._written.clear()
            self._wanted.set()

    async def _write(self) -> None:
        """The uid is a precondition: a successor of the same name is left alone."""
        name, namespace, identity = self._pod.name, self._pod.namespace, {"uid": self._pod.uid}
        if self._annotations:
            annotations, self._annotations = self._annotations, {}
            body: dict[str, Any] = {"metadata": {**identity, "annotations": annotations}}
            try:
                await self._kube.patch(POD, name, body, type="merge", namespace=namespace)
            except KubeError:
                self._annotations = {**annotations, **self._annotations}
                raise
        body = {"metadata": identity, "status": self.status}
        await self._kube.patch(POD, name, body, type="merge", namespace=namespace, subresource="status")
