"""Steps of a workload's plan → the API, its answers → the cache, what was done → events."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from slipway.kube.client import Kube
from slipway.kube.errors import AlreadyExists, ApiError, Conflict, Forbidden, KubeError, NotFound
from slipway.kube.kinds import ENDPOINT_SLICE, POD, REPLICA_SET, Kind, kind_of
from slipway.onebox.runner.cache import Cache
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.spec import Object
from slipway.onebox.runner.workload_steps import Change, Create, Delete, Notice, Step, is_going

MANAGER = "slipway-runner"
SOURCES = {"Deployment": "deployment-controller", "ReplicaSet": "replicaset-controller", "Job": "job-controller"}
"""Who says what becomes of a workload, as Kubernetes calls its controllers; others' are the runner's."""

SCALED = "ScalingReplicaSet"

log = logging.getLogger(__name__)


class Writes:
    """``place`` is told each Pod that is made: the answer is how the API gets it."""

    def __init__(self, kube: Kube, cache: Cache, events: Events, place: Callable[[Object], Object]) -> None:
        self._kube = kube
        self._cache = cache
        self._events = events
        self._place = place

    async def apply(self, owner: Object, steps: Iterable[Step]) -> bool:
        """False: try again soon. What was planned with an adoption that is refused is not done."""
        done = True
        for step in steps:
            is_done = await self._apply(owner, step)
            done = done and is_done
            if not is_done and isinstance(step, Change) and step.is_adoption:
                break
        return done

    async def _apply(self, owner: Object, step: Step) -> bool:
        try:
            if isinstance(step, Change) and step.is_adoption and not await self._is_there(owner):
                return False
            await self._write(owner, step)
        except (NotFound, AlreadyExists, Conflict) as exc:
            log.info("%s: %s", owner["metadata"]["name"], exc)  # the watch will show what is there now
            return isinstance(exc, NotFound)
        except KubeError as exc:
            log.warning("%s: %s: %s", owner["metadata"]["name"], step.reason, exc)
            if isinstance(exc, ApiError) and not isinstance(exc, Forbidden):  # Forbidden: the namespace is going
                reason = "FailedCreate" if isinstance(step, Create) else "FailedUpdate"
                self._tell(owner, Notice(reason, str(exc), is_warning=True))
            return False
        return True

    async def _write(self, owner: Object, step: Step) -> None:
        if isinstance(step, Create):
            kind = kind_of(step.obj)
            obj = self._place(step.obj) if kind == POD else step.obj
            made = await self._kube.create(obj, field_manager=MANAGER)
            self._cache.remember(kind, made)
            name = made["metadata"]["name"]
            if kind == REPLICA_SET:
                self._record(owner, SCALED, _scaled(name, 0, step.obj["spec"]["replicas"]), kind)
            else:
                self._record(owner, "SuccessfulCreate", f"Created {kind.kind.lower()}: {name}", kind)
        elif isinstance(step, Delete):
            await self._delete(owner, step)
        else:
            await self._change(owner, step)

    async def _delete(self, owner: Object, step: Delete) -> None:
        meta = step.obj["metadata"]
        answer = await self._kube.delete(
            step.kind, meta["name"], namespace=meta["namespace"], uid=meta["uid"], propagation="Background"
        )
        if answer.get("kind") == step.kind.kind and is_going(answer):
            self._cache.remember(step.kind, answer)
        else:
            self._cache.forget(step.kind, step.obj)
        self._record(owner, "SuccessfulDelete", f"Deleted {step.kind.kind.lower()}: {meta['name']}", step.kind)

    async def _is_there(self, owner: Object) -> bool:
        """Watches of two kinds are in no order: a dependent may be seen let go before its owner is seen going.

        Adopted then, it would be collected as the dependent of nobody.
        """
        meta = owner["metadata"]
        try:
            live = await self._kube.get(kind_of(owner), meta["name"], namespace=meta["namespace"])
        except NotFound:
            return False
        return bool(live["metadata"]["uid"] == meta["uid"]) and not is_going(live)

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
            before, after = step.obj["spec"].get("replicas", 1), step.patch["spec"]["replicas"]
            self._record(owner, SCALED, _scaled(meta["name"], before, after), step.kind)
        if step.notice is not None:
            self._tell(owner, step.notice)

    def _record(self, owner: Object, reason: str, message: str, kind: Kind) -> None:
        if kind == ENDPOINT_SLICE:
            return
        log.info("%s %s: %s", owner["kind"], owner["metadata"]["name"], message)
        self._tell(owner, Notice(reason, message))

    def _tell(self, owner: Object, notice: Notice) -> None:
        component = SOURCES.get(owner["kind"], MANAGER)
        self._events.record(owner, notice.reason, notice.message, is_warning=notice.is_warning, component=component)


def _scaled(name: str, before: int, after: int) -> str:
    """In the words of Kubernetes' Deployment controller, which people search for."""
    return f"Scaled {'up' if after > before else 'down'} replica set {name} from {before} to {after}"
