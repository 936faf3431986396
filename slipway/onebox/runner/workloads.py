"""The workload controllers: plan from the whole state, apply, again when something changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

from slipway.kube.boot_clock import boot_time
from slipway.kube.kinds import (
    DEPLOYMENT,
    ENDPOINT_SLICE,
    JOB,
    NODE,
    POD,
    POD_DISRUPTION_BUDGET,
    REPLICA_SET,
    SERVICE,
    Kind,
)
from slipway.kube.malformed import MALFORMED
from slipway.onebox.runner.budgets import plan_budget
from slipway.onebox.runner.cache import Cache
from slipway.onebox.runner.deployment_status import deadline_at
from slipway.onebox.runner.deployments import plan_deployment
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.jobs import plan_job, retry_at
from slipway.onebox.runner.moments import Memory, Moment
from slipway.onebox.runner.not_honoured import TEMPLATED, NotHonoured
from slipway.onebox.runner.replica_sets import next_try_at, plan_replica_set
from slipway.onebox.runner.rounds import MAX_SLEEP_S, RETRY_S, Rounds
from slipway.onebox.runner.scheduling import has_ended
from slipway.onebox.runner.spec import Object
from slipway.onebox.runner.workload_steps import Step, controller_uid, ready_stamp
from slipway.onebox.runner.workload_writes import Writes

KINDS = (DEPLOYMENT, REPLICA_SET, JOB, SERVICE, ENDPOINT_SLICE, POD_DISRUPTION_BUDGET, NODE)
"""What the controllers plan from, besides Pods."""

T = TypeVar("T")


def _when(read: Callable[..., T | None], obj: Object, *more: Any) -> T | None:
    """What is read of an object; None of one that cannot be read, which its own plan complains of."""
    try:
        return read(obj, *more)
    except MALFORMED:
        return None


def _min_ready_s(replica_set: Object) -> float:
    return float(replica_set["spec"].get("minReadySeconds") or 0)


def _ready_since(pod: Object, now: Moment) -> float | None:
    stamp = ready_stamp(pod)
    return None if stamp is None else now.since(pod, stamp)


def _ended_of(pod: Object) -> str | None:
    """Whose a Pod is that has ended."""
    return controller_uid(pod) if has_ended(pod) else None


class Workloads:
    """``wake`` after any change; ``run`` for ever."""

    def __init__(self, writes: Writes, cache: Cache, events: Events) -> None:
        self._writes = writes
        self._cache = cache
        self._events = events
        self._not_honoured = NotHonoured(events)
        self._memory = Memory()
        rounds = Rounds(self._round)
        self.wake, self.run = rounds.wake, rounds.run

    async def _round(self) -> float:
        """One look at everything."""
        done = True
        self._memory.begin_round()
        self._not_honoured.look(obj for kind in TEMPLATED for obj in self._cache.objects(kind).values())
        for kind, plan in (
            (DEPLOYMENT, self._deployment),
            (REPLICA_SET, self._replica_set),
            (JOB, self._job),
            (POD_DISRUPTION_BUDGET, self._budget),
        ):
            for obj in self._cache.objects(kind).values():
                await asyncio.sleep(0)  # a plan of very many Pods takes a while: others may go in between
                try:
                    steps = plan(obj, self._now())
                except MALFORMED as exc:  # an object that no controller could read
                    self._events.cannot_plan(obj, exc)
                    continue
                done = await self._writes.apply(obj, steps) and done
        return self._pause() if done else RETRY_S

    def _deployment(self, deployment: Object, now: Moment) -> list[Step]:
        namespace = deployment["metadata"]["namespace"]
        return plan_deployment(deployment, self._all(REPLICA_SET, namespace), self._all(POD, namespace), now)

    def _replica_set(self, replica_set: Object, now: Moment) -> list[Step]:
        return plan_replica_set(replica_set, self._all(POD, replica_set["metadata"]["namespace"]), now)

    def _job(self, job: Object, now: Moment) -> list[Step]:
        return plan_job(job, self._all(POD, job["metadata"]["namespace"]), now)

    def _budget(self, budget: Object, now: Moment) -> list[Step]:
        namespace = budget["metadata"]["namespace"]
        pods, replica_sets = self._all(POD, namespace), self._all(REPLICA_SET, namespace)
        return plan_budget(budget, pods, replica_sets, self._all(DEPLOYMENT, namespace), now)

    def _all(self, kind: Kind, namespace: str) -> list[Object]:
        return [obj for (where, _), obj in self._cache.objects(kind).items() if where == namespace]

    def _now(self) -> Moment:
        return self._memory.moment(time.time(), boot_time())

    def _pause(self) -> float:
        """Until time alone may change a plan: a deadline, a next try, minReadySeconds. What a burst left is planned at once:

        its Pods wake the next round as the watch shows them.
        """
        now = self._now()
        times = [_when(deadline_at, item, now) for item in self._cache.objects(DEPLOYMENT).values()]
        for (namespace, _), job in self._cache.objects(JOB).items():
            times.append(_when(retry_at, job, self._all(POD, namespace), now))
        ended_of = {_when(_ended_of, pod) for pod in self._cache.objects(POD).values()}
        for (namespace, _), replica_set in self._cache.objects(REPLICA_SET).items():
            if replica_set["metadata"]["uid"] in ended_of:
                times.append(_when(next_try_at, replica_set, self._all(POD, namespace), now))
        sets = self._cache.objects(REPLICA_SET).values()
        waits = {_when(_min_ready_s, item) for item in sets} - {0.0, None}
        since = [_when(_ready_since, pod, now) for pod in self._cache.objects(POD).values()]
        times += [at + wait for wait in waits if wait for at in since if at is not None]
        future = [at - now.wall for at in times if at is not None and at > now.wall]
        return min([MAX_SLEEP_S, *(pause + 0.01 for pause in future)])
