"""The loop around ``election``: works while it holds the Lease, and stops before anybody else can begin."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from slipway.controller.election import Candidate, Timing, claim, next_step, released
from slipway.controller.meta import MANAGER
from slipway.kube.boot_clock import boot_time
from slipway.kube.client import Kube
from slipway.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from slipway.kube.kinds import LEASE

log = logging.getLogger(__name__)
RELEASE_S = 3.0
"""The API has this long to take the release; without it the next leader waits for the lease to end."""


class NotLeading(KubeError):
    """A write that comes too late: another process may lead by now."""


@dataclass
class Election:
    """One candidate for the Lease ``namespace/name``. ``kube`` must not share a rate limit with the work.

    By the clock that counts a machine's sleep: a Lease does not wait for it.
    """

    kube: Kube
    namespace: str
    name: str
    candidate: Candidate
    clock: Callable[[], float] = boot_time

    @classmethod
    def of(cls, kube: Kube, *, namespace: str, identity: str, timing: Timing, name: str = MANAGER) -> Election:
        """``identity`` must be this process's alone, not its Pod's: a container that starts anew must not inherit."""
        return cls(kube, namespace, name, Candidate(identity, timing))

    @property
    def is_leading(self) -> bool:
        return self.candidate.may_write(self.clock())

    def check(self) -> None:
        """Raises NotLeading. Asked before each write: a process that was paused may not know yet that it lost."""
        if not self.is_leading:
            raise NotLeading(f"{self.candidate.identity}: the lease {self.namespace}/{self.name} is not held any more")

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``work`` whenever this process leads, for ever; what ends ``work`` ends this."""
        timing = self.candidate.timing
        try:
            while True:
                while not self.is_leading:
                    await self._within(timing.renew_s / 2)
                    if not self.is_leading:
                        await asyncio.sleep(timing.retry_s)
                log.info("%s leads", self.candidate.identity)
                await self._lead(work)
                self.candidate = self.candidate.lost()
                log.warning("%s leads no more: the lease could not be renewed in time", self.candidate.identity)
        finally:
            await self._release()

    async def _lead(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Until the lease is lost; then ``work`` is cancelled and has ended."""
        hold = asyncio.create_task(self._hold(), name="hold the lease")
        worker = asyncio.create_task(work(), name="lead")
        try:
            await asyncio.wait([hold, worker], return_when=asyncio.FIRST_COMPLETED)
            if worker.done():
                worker.result()
                raise RuntimeError("the work of a leader ended by itself")
            hold.result()
        finally:
            for task in (hold, worker):
                task.cancel()
            await asyncio.gather(hold, worker, return_exceptions=True)

    async def _hold(self) -> None:
        """Renew until it is too late."""
        while self.is_leading:
            await asyncio.sleep(min(self.candidate.timing.retry_s, self.candidate.left_s(self.clock())))
            await self._within(self.candidate.left_s(self.clock()))

    async def _within(self, limit_s: float) -> None:
        """One try; an API that does not answer is as good as one that refuses."""
        try:
            async with asyncio.timeout(limit_s):
                await self._try()
        except (Conflict, AlreadyExists) as error:
            log.info("lease %s/%s: somebody else was faster: %s", self.namespace, self.name, error)
        except (KubeError, TimeoutError) as error:
            log.warning("lease %s/%s: %s", self.namespace, self.name, error or "no answer in time")

    async def _try(self) -> None:
        lease = await self._read()
        step = next_step(self.candidate, now=self.clock())
        if step == "wait":
            return
        begun_at, spec = self.clock(), claim(self.candidate, step, clock=datetime.now(UTC))
        if lease is None:
            meta = {"name": self.name, "namespace": self.namespace}
            body = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": meta, "spec": spec}
            result = await self.kube.create(body, field_manager=MANAGER)
        else:  # with the resourceVersion that was read: of two who take it, one meets a conflict
            result = await self.kube.replace({**lease, "spec": spec}, kind=LEASE, field_manager=MANAGER)
        self.candidate = self.candidate.wrote(result["spec"], begun_at=begun_at, now=self.clock())

    async def _read(self) -> dict[str, Any] | None:
        try:
            lease = await self.kube.get(LEASE, self.name, namespace=self.namespace)
        except NotFound:
            return None
        self.candidate = self.candidate.observed(lease.get("spec") or {}, now=self.clock())
        return lease

    async def _release(self) -> None:
        """Give the lease back, once nothing is written any more."""
        if not self.is_leading:
            return
        try:
            async with asyncio.timeout(min(RELEASE_S, self.candidate.left_s(self.clock()))):
                lease = await self._read()
                if lease is not None and self.candidate.holder == self.candidate.identity:
                    self.candidate = self.candidate.lost()
                    body = {**lease, "spec": released(lease["spec"], clock=datetime.now(UTC))}
                    await self.kube.replace(body, kind=LEASE, field_manager=MANAGER)
                    log.info("lease %s/%s: given back", self.namespace, self.name)
        except (KubeError, TimeoutError) as error:
            log.warning("lease %s/%s: not given back: %s", self.namespace, self.name, error or "no answer in time")
