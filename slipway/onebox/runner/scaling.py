"""The autoscaler of one machine: measure, decide, scale, report; again every few seconds while there is one."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection
from typing import Any

import aiohttp

from slipway.kube.boot_clock import boot_time
from slipway.kube.client import Kube
from slipway.kube.errors import KubeError
from slipway.kube.kinds import DEPLOYMENT, HORIZONTAL_POD_AUTOSCALER, POD, REPLICA_SET
from slipway.kube.malformed import MALFORMED
from slipway.onebox.runner.cache import Cache
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.hpa import Complaint, Decision, ambiguous, decide, not_rescaled, rescaled, without_target
from slipway.onebox.runner.hpa_limits import History
from slipway.onebox.runner.hpa_metrics import Use
from slipway.onebox.runner.hpa_pods import Source
from slipway.onebox.runner.hpa_status import is_worth_writing, render_status
from slipway.onebox.runner.scaling_read import Leaders, read_resources, read_series
from slipway.onebox.runner.scaling_samples import Samples
from slipway.onebox.runner.scaling_targets import Target, find_targets
from slipway.onebox.runner.workload_steps import Object

MANAGER = "slipway-autoscaler"
COMPONENT = "horizontal-pod-autoscaler"
SYNC_S = 5.0
"""A cluster's looks every 15 s by default (--horizontal-pod-autoscaler-sync-period); a look costs little here."""

log = logging.getLogger(__name__)


class Scaling:
    """``wake`` after a change of any HorizontalPodAutoscaler; ``run`` for ever."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        events: Events,
        *,
        session: aiohttp.ClientSession,
        leaders: Callable[[Collection[str]], Leaders],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._events = events
        self._session = session
        self._leaders = leaders
        self._samples = Samples()
        self._histories: dict[str, History] = {}
        self._said: dict[str, tuple[Complaint, ...]] = {}
        self._written: dict[str, float] = {}
        self._specs: dict[str, Any] = {}
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Our own writes of the status are no reason to look again."""
        specs = self._now_specs()
        if specs != self._specs:
            self._specs = specs
            self._changed.set()

    async def run(self) -> None:
        self._specs = self._now_specs()
        while True:
            self._changed.clear()
            await self.round()
            try:
                async with asyncio.timeout(SYNC_S if self._specs else None):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def round(self) -> None:
        """One look at every autoscaler."""
        targets = self._targets()
        self._forget({str(target.hpa["metadata"]["uid"]) for target in targets})
        measured = await self._measure(targets)
        for target in self._targets():  # as they are now: measuring takes time, in which a person may have scaled
            try:
                await self._scale(target, measured)
            except MALFORMED as exc:  # in its target's fields: the others are scaled all the same
                log.exception("HorizontalPodAutoscaler %s", target.hpa["metadata"]["name"])
                self._complain(target.hpa, (Complaint("FailedScale", f"{type(exc).__name__}: {exc}"),))

    def _targets(self) -> list[Target]:
        workloads = {kind: self._cache.objects(kind) for kind in (DEPLOYMENT, REPLICA_SET)}
        hpas = self._cache.objects(HORIZONTAL_POD_AUTOSCALER).values()
        return find_targets(list(hpas), workloads, list(self._cache.objects(POD).values()))

    def _now_specs(self) -> dict[str, Any]:
        hpas = self._cache.objects(HORIZONTAL_POD_AUTOSCALER).values()
        return {hpa["metadata"]["uid"]: hpa["spec"] for hpa in hpas}

    def _forget(self, uids: Collection[str]) -> None:
        for memory in (self._histories, self._said, self._written):
            for uid in memory.keys() - uids:
                del memory[uid]

    async def _measure(self, targets: Collection[Target]) -> dict[Source, Use]:
        """What all of them need, each Pod once."""
        wanted: dict[str, tuple[Object, set[Any]]] = {}
        resources: set[str] = set()
        for target in targets:
            if target.spec is None:
                continue
            resources |= target.spec.resources
            for pod in target.pods:
                wanted.setdefault(pod["metadata"]["uid"], (pod, set()))[1].update(target.spec.series)
        points = await asyncio.to_thread(read_resources, self._leaders(wanted), resources) if resources else {}
        points |= await read_series(self._session, {uid: item for uid, item in wanted.items() if item[1]})
        now = boot_time()
        self._samples.take(points, now)
        self._samples.keep(wanted, now)
        return self._samples.uses(now)

    async def _scale(self, target: Target, measured: dict[Source, Use]) -> None:
        now, uid = boot_time(), str(target.hpa["metadata"]["uid"])
        decision = self._decide(target, measured, now)
        is_rescaled = decision.replicas not in (None, target.replicas)
        if is_rescaled:
            decision, is_rescaled = await self._rescale(target, decision, now)
        self._histories[uid] = decision.history
        await self._report(target, decision, is_rescaled=is_rescaled, now=now)
        self._complain(target.hpa, decision.complaints)

    def _decide(self, target: Target, measured: dict[Source, Use], now: float) -> Decision:
        history = self._histories.get(str(target.hpa["metadata"]["uid"]), History())
        if target.problem or target.spec is None:
            return without_target(target.problem)
        if target.rivals:
            return ambiguous(target.rivals, history)
        pods = target.pods
        return decide(
            target.spec,
            replicas=target.replicas,
            pods=pods,
            measured=measured,
            history=history,
            now=now,
            pods_now=time.time(),
        )

    async def _rescale(self, target: Target, decision: Decision, now: float) -> tuple[Decision, bool]:
        """The decision as it turned out, and whether the target has its new number."""
        assert target.kind is not None and target.obj is not None and target.spec is not None  # noqa: S101, PT018
        meta = target.obj["metadata"]
        try:
            await self._kube.patch(
                target.kind,
                meta["name"],
                {"spec": {"replicas": decision.replicas}},
                type="merge",
                namespace=meta["namespace"],
                subresource="scale",
                field_manager=MANAGER,
            )
        except KubeError as exc:
            return not_rescaled(decision, str(exc)), False
        self._record(target.hpa, "SuccessfulRescale", f"New size: {decision.replicas}; reason: {decision.reason}")
        return rescaled(decision, target.spec, old=target.replicas, now=now), True

    async def _report(self, target: Target, decision: Decision, *, is_rescaled: bool, now: float) -> None:
        meta, old = target.hpa["metadata"], target.hpa.get("status") or {}
        status = render_status(
            old, target.spec, decision, replicas=target.replicas, is_rescaled=is_rescaled, now=time.time()
        )
        if not is_worth_writing(old, status, age_s=now - self._written.get(meta["uid"], -math.inf)):
            return
        try:
            answer = await self._kube.patch(
                HORIZONTAL_POD_AUTOSCALER,
                meta["name"],
                {"metadata": {"uid": meta["uid"]}, "status": status},
                type="merge",
                namespace=meta["namespace"],
                subresource="status",
                field_manager=MANAGER,
            )
        except KubeError as exc:  # it may be gone; the next look shows it
            log.warning("%s/%s: its status is not written: %s", meta["namespace"], meta["name"], exc)
        else:
            self._written[meta["uid"]] = now
            self._cache.remember(HORIZONTAL_POD_AUTOSCALER, answer)

    def _complain(self, hpa: Object, complaints: tuple[Complaint, ...]) -> None:
        """Once, until there are others."""
        uid = str(hpa["metadata"]["uid"])
        if self._said.get(uid, ()) != complaints:
            self._said[uid] = complaints
            for complaint in complaints:
                self._record(hpa, complaint.reason, complaint.message, is_warning=True)

    def _record(self, hpa: Object, reason: str, message: str, *, is_warning: bool = False) -> None:
        log.info("HorizontalPodAutoscaler %s: %s: %s", hpa["metadata"]["name"], reason, message)
        self._events.record(hpa, reason, message, is_warning=is_warning, component=COMPONENT)
