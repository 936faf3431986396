"""The workload controllers and the endpoint controller: plan from the whole state, apply, again when something changes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from slipway.kube.client import Kube
from slipway.kube.errors import AlreadyExists, ApiError, Conflict, Forbidden, KubeError, NotFound
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
    kind_of,
)
from slipway.kube.malformed import MALFORMED
from slipway.onebox.runner.budgets import plan_budget
from slipway.onebox.runner.cache import Cache
from slipway.onebox.runner.deployment_status import deadline_at
from slipway.onebox.runner.deployments import plan_deployment
from slipway.onebox.runner.endpoints import plan_endpoints
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.jobs import plan_job, retry_at
from slipway.onebox.runner.references import NODE_NAME
from slipway.onebox.runner.replica_sets import plan_replica_set
from slipway.onebox.runner.scheduling import placed
from slipway.onebox.runner.spec import Object
from slipway.onebox.runner.workload_steps import Change, Create, Delete, Step, is_going, ready_since

MANAGER = "slipway-runner"
MAX_SLEEP_S = 30.0
RETRY_S = 1.0
"""After a round in which the API refused a step."""
KINDS = (DEPLOYMENT, REPLICA_SET, JOB, SERVICE, ENDPOINT_SLICE, POD_DISRUPTION_BUDGET, NODE)
"""What is planned from, besides Pods."""

log = logging.getLogger(__name__)


def _when(read: Callable[..., float | None], obj: Object, *more: Any) -> float | None:
    """What is read of an object; None of one that cannot be read, which its own plan complains of."""
    try:
        return read(obj, *more)
    except MALFORMED:
        return None


def _min_ready_s(replica_set: Object) -> float:
    return float(replica_set["spec"].get("minReadySeconds") or 0)


class Workloads:
    """``wake`` after any change; ``run`` for ever."""

    def __init__(self, kube: Kube, cache: Cache, events: Events) -> None:
        self._kube = kube
        self._cache = cache
        self._events = events
        self._changed = asyncio.Event()

    def wake(self) -> None:
        self._changed.set()

    async def run(self) -> None:
        while True:
            self._changed.clear()
            pause = RETRY_S
            if await self.round():
                pause = self._pause()
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def round(self) -> bool:
        """One look at everything; False where a step was refused. Endpoints first: they carry requests."""
        done = True
        for kind, plan in (
            (SERVICE, self._endpoints),
            (DEPLOYMENT, self._deployment),
            (REPLICA_SET, self._replica_set),
            (JOB, self._job),
            (POD_DISRUPTION_BUDGET, self._budget),
        ):
            for obj in self._cache.objects(kind).values():
                try:
                    steps = plan(obj, time.time())
                except MALFORMED as exc:  # an object that no controller could read
                    self._events.record(obj, "FailedPlan", f"{type(exc).__name__}: {exc}", is_warning=True)
                    log.exception("%s %s cannot be planned", kind, obj["metadata"]["name"])
                    continue
                for step in steps:
                    done = await self._apply(obj, step) and done
        return done

    def _endpoints(self, service: Object, _: float) -> list[Step]:
        namespace = service["metadata"]["namespace"]
        return plan_endpoints(service, self._all(POD, namespace), self._all(ENDPOINT_SLICE, namespace))

    def _deployment(self, deployment: Object, now: float) -> list[Step]:
        namespace = deployment["metadata"]["namespace"]
        return plan_deployment(deployment, self._all(REPLICA_SET, namespace), self._all(POD, namespace), now)

    def _replica_set(self, replica_set: Object, now: float) -> list[Step]:
        return plan_replica_set(replica_set, self._all(POD, replica_set["metadata"]["namespace"]), now)

    def _job(self, job: Object, now: float) -> list[Step]:
        return plan_job(job, self._all(POD, job["metadata"]["namespace"]), now)

    def _budget(self, budget: Object, now: float) -> list[Step]:
        namespace = budget["metadata"]["namespace"]
        pods, replica_sets = self._all(POD, namespace), self._all(REPLICA_SET, namespace)
        return plan_budget(budget, pods, replica_sets, self._all(DEPLOYMENT, namespace), now)

    def _all(self, kind: Kind, namespace: str) -> list[Object]:
        return [obj for (where, _), obj in self._cache.objects(kind).items() if where == namespace]

    def _pause(self) -> float:
        """Until time alone may change a plan: a deadline, a next try, minReadySeconds."""
        now = time.time()
        times = [_when(deadline_at, item) for item in self._cache.objects(DEPLOYMENT).values()]
        for (namespace, _), job in self._cache.objects(JOB).items():
            times.append(_when(retry_at, job, self._all(POD, namespace)))
        sets = self._cache.objects(REPLICA_SET).values()
        waits = {_when(_min_ready_s, item) for item in sets} - {0.0, None}
        since = [_when(ready_since, pod) for pod in self._cache.objects(POD).values()]
        times += [at + wait for wait in waits if wait for at in since if at is not None]
        future = [at - now for at in times if at is not None and at > now]
        return min([MAX_SLEEP_S, *(pause + 0.01 for pause in future)])

    async def _apply(self, owner: Object, step: Step) -> bool:
        """False: try again soon."""
        try:
            await self._write(owner, step)
        except (NotFound, AlreadyExists, Conflict) as exc:
            log.info("%s: %s", owner["metadata"]["name"], exc)  # the watch will show what is there now
            return isinstance(exc, NotFound)
        except KubeError as exc:
            log.warning("%s: %s: %s", owner["metadata"]["name"], step.reason, exc)
            if isinstance(exc, ApiError) and not isinstance(exc, Forbidden):  # Forbidden: the namespace is going
                self._events.record(
                    owner,
                    "FailedCreate" if isinstance(step, Create) else "FailedUpdate",
                    str(exc),
                    is_warning=True,
                    component="workloads",
                )
            return False
        return True

    async def _write(self, owner: Object, step: Step) -> None:
        if isinstance(step, Create):
            kind = kind_of(step.obj)
            made = await self._kube.create(self._placed(step.obj, kind), field_manager=MANAGER)
            self._cache.remember(kind, made)
            self._record(owner, "SuccessfulCreate", f"Created {kind.kind.lower()}: {made['metadata']['name']}", kind)
        elif isinstance(step, Delete):
            meta = step.obj["metadata"]
            answer = await self._kube.delete(
                step.kind, meta["name"], namespace=meta["namespace"], uid=meta["uid"], propagation="Background"
            )
            if answer.get("kind") == step.kind.kind and is_going(answer):
                self._cache.remember(step.kind, answer)
            else:
                self._cache.forget(step.kind, step.obj)
            self._record(owner, "SuccessfulDelete", f"Deleted {step.kind.kind.lower()}: {meta['name']}", step.kind)
        else:
            await self._change(owner, step)

    def _placed(self, obj: Object, kind: Kind) -> Object:
        return placed(obj, self._cache.objects(NODE).get(("", NODE_NAME))) if kind == POD else obj

    async def _change(self, owner: Object, step: Change) -> None:
        meta = step.obj["metadata"]
        patch: Mapping[str, Any] = {
            **step.patch,
            "metadata": {"uid": meta["uid"], **(step.patch.get("metadata") or {})},
        }
        answer = await self._kube.patch(
            step.kind,
            meta["name"],
            patch,
            type="merge",
            namespace=meta["namespace"],
            subresource=step.subresource,
            field_manager=MANAGER,
        )
        self._cache.remember(step.kind, answer)
        if step.kind == REPLICA_SET and "spec" in step.patch:
            self._record(owner, "ScalingReplicaSet", f"Scaled replica set {meta['name']}: {step.reason}", step.kind)

    def _record(self, owner: Object, reason: str, message: str, kind: Kind) -> None:
        if kind == ENDPOINT_SLICE:
            return
        if kind == REPLICA_SET and reason == "SuccessfulCreate":
            reason = "ScalingReplicaSet"
        log.info("%s %s: %s", owner["kind"], owner["metadata"]["name"], message)
        self._events.record(owner, reason, message, component="workloads")
