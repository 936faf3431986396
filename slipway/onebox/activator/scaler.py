"""Puts Deployments to rest and wakes them: looks at traffic, decides, writes ``spec.replicas`` and what became of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slipway.kube.client import Kube
from slipway.kube.errors import Conflict, KubeError, NotFound, Temporary
from slipway.kube.kinds import DEPLOYMENT, HORIZONTAL_POD_AUTOSCALER, SCALED_OBJECT, SERVICE
from slipway.kube.malformed import MALFORMED
from slipway.onebox.activator.autoscaler import autoscaler_name, autoscaler_of, differs, is_of
from slipway.onebox.activator.held import Held, Key
from slipway.onebox.activator.limits import LOOK_MAX_S, LOOK_S, LOOKS_PER_COOLDOWN, RETRY_S
from slipway.onebox.activator.rest import (
    Activity,
    Bounds,
    is_starting,
    observe,
    read_bounds,
    replicas_of,
    wanted_replicas,
)
from slipway.onebox.activator.status import scaled_object_status
from slipway.onebox.activator.traffic import hosts_of, read_stats, sum_traffic
from slipway.onebox.mesh.admin import Admin
from slipway.onebox.mesh.sleepers import read_sleepers, target_name
from slipway.onebox.runner.cache import Cache, key_of
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.rounds import Rounds

MANAGER = "slipway-activator"
Object = Mapping[str, Any]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scaled:
    """A ScaledObject with its Deployment."""

    scaled_object: Object
    deployment: Object

    @property
    def key(self) -> Key:
        meta = self.deployment["metadata"]
        return meta["namespace"], meta["name"]

    @property
    def bounds(self) -> Bounds:
        return read_bounds(self.scaled_object)


class Scaler:
    """``wake`` when a request waits or an object changed; ``run`` for ever."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        *,
        admins: Sequence[Admin],
        events: Events,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.held: Held | None = None
        self._kube = kube
        self._cache = cache
        self._admins = admins
        self._events = events
        self._clock = clock
        self._activity: dict[Key, Activity] = {}
        self._refused: dict[Key, Object] = {}  # autoscalers that the API did not take
        self._unread: dict[tuple[Key, str], str] = {}  # ScaledObject and step, and what was said of it
        self._looked_at = float("-inf")
        rounds = Rounds(self.round)
        self.wake, self.run = rounds.wake, rounds.run

    async def round(self) -> float | None:
        """One look at everything; how long until the next is due, None where only news make one."""
        scaled = self._scaled()
        keys = {item.key for item in scaled}
        self._activity = {key: value for key, value in self._activity.items() if key in keys}
        self._refused = {key: value for key, value in self._refused.items() if key in keys}
        period = look_period_s(scaled)
        is_look = period is not None and self._clock() - self._looked_at >= period
        if is_look:
            await self._look(scaled)
        done = [await self._carry_out(item, may_rest=is_look) for item in scaled]
        if not all(done):
            return RETRY_S
        return None if period is None else max(0.0, self._looked_at + period - self._clock())

    def _scaled(self) -> list[Scaled]:
        """Those that can be read, with their Deployments."""
        objects = self._cache.objects(SCALED_OBJECT)
        self._unread = {key: problem for key, problem in self._unread.items() if key[0] in objects}
        deployments, found = self._cache.objects(DEPLOYMENT), []
        for (namespace, _), scaled_object in sorted(objects.items(), key=lambda entry: entry[0]):
            try:
                deployment = deployments.get((namespace, target_name(scaled_object)))
                if deployment is None or deployment["metadata"].get("deletionTimestamp"):
                    continue
                item = Scaled(scaled_object, deployment)
                _ = item.bounds, replicas_of(deployment)
            except MALFORMED as exc:
                self._say_unread(scaled_object, "read", exc)
            else:
                found.append(item)
        return found

    async def _look(self, scaled: Sequence[Scaled]) -> None:
        """Everybody's traffic, from one question to each gateway."""
        stats = await read_stats(self._admins)
        now = self._looked_at = self._clock()
        services = list(self._cache.objects(SERVICE).values())
        for item in scaled:
            try:
                sleepers = read_sleepers([item.scaled_object], [item.deployment])
                is_seen = stats is not None and bool(sleepers)
                traffic = sum_traffic(hosts_of(sleepers[0], services), stats or {}) if is_seen else None
                at_work = bool(self._waiting(item.key)) or is_starting(item.deployment)
            except MALFORMED as exc:
                traffic, at_work = None, True  # what cannot be looked at does not go to rest
                self._say_unread(item.scaled_object, "look", exc)
            self._activity[item.key] = observe(self._activity.get(item.key), traffic, at_work=at_work, now=now)

    def _waiting(self, key: Key) -> int:
        return self.held.counts[key] if self.held else 0

    async def _carry_out(self, item: Scaled, *, may_rest: bool) -> bool:
        try:
            return await self._settle(item, may_rest=may_rest) and await self._autoscale(item)
        except MALFORMED as exc:
            self._say_unread(item.scaled_object, "carry out", exc)
            return True

    def _say_unread(self, scaled_object: Object, step: str, error: Exception) -> None:
        """Once, until it is another problem."""
        key, problem = (key_of(scaled_object), step), f"{type(error).__name__}: {error}"
        if self._unread.get(key) == problem:
            return
        self._unread[key] = problem
        log.error("ScaledObject %s cannot be read", "/".join(key[0]), exc_info=error)
        self._complain(scaled_object, problem)

    def _complain(self, scaled_object: Object, message: str) -> None:
        self._events.record(
            scaled_object, "ScaledObjectCheckFailed", message, is_warning=True, component="keda-operator"
        )

    async def _settle(self, item: Scaled, *, may_rest: bool) -> bool:
        """False: the API refused, and it is to be tried again. To rest it goes only right after a look."""
        now, held, replicas = self._clock(), self._waiting(item.key), replicas_of(item.deployment)
        activity = self._activity.get(item.key, Activity(now))
        wanted = wanted_replicas(item.bounds, replicas, activity, held=held, now=now)
        if wanted is not None and (wanted or may_rest):
            if not await self._scale(item, wanted, held=held):
                return False
            replicas = wanted
            self._activity[item.key] = replace(activity, busy_at=now)
        return await self._tell(item, is_active=replicas > 0)

    async def _scale(self, item: Scaled, replicas: int, *, held: int) -> bool:
        meta = item.deployment["metadata"]
        # Going to rest only from the state that was looked at: a wake or an apply in between must win.
        same = {"uid": meta["uid"], **({"resourceVersion": meta["resourceVersion"]} if replicas == 0 else {})}
        patch = {"metadata": same, "spec": {"replicas": replicas}}
        try:
            answer = await self._kube.patch(
                DEPLOYMENT, meta["name"], patch, type="merge", namespace=meta["namespace"], field_manager=MANAGER
            )
        except (NotFound, Conflict) as exc:
            log.info("%s: %s", meta["name"], exc)
            return isinstance(exc, NotFound)
        except KubeError as exc:
            log.warning("%s: not scaled to %d: %s", meta["name"], replicas, exc)
            return False
        self._cache.remember(DEPLOYMENT, answer)
        self._say(item, replicas, held=held)
        return True

    def _say(self, item: Scaled, replicas: int, *, held: int) -> None:
        name = "/".join(item.key)
        if replicas == 0:
            reason, why = "KEDAScaleTargetDeactivated", f"no request for {item.bounds.cooldown_s:g} s"
            message = f"Deactivated {name} from {replicas_of(item.deployment)} to 0: {why}"
        else:
            reason, why = "KEDAScaleTargetActivated", who_wakes(held)
            message = f"Scaled {name} from {replicas_of(item.deployment)} to {replicas}: {why}"
        log.info("%s", message)
        self._events.record(item.scaled_object, reason, message, component="keda-operator")

    async def _autoscale(self, item: Scaled) -> bool:
        """The HorizontalPodAutoscaler of its triggers; the API deletes it with its ScaledObject."""
        wanted = autoscaler_of(item.scaled_object)
        place = item.scaled_object["metadata"]["namespace"], autoscaler_name(item.scaled_object)
        have = self._cache.objects(HORIZONTAL_POD_AUTOSCALER).get(place)
        if wanted is None:
            return have is None or not is_of(have, item.scaled_object) or await self._drop_autoscaler(have)
        meta = wanted["metadata"]
        if self._refused.get(item.key) == wanted or (have is not None and not differs(have, wanted)):
            return True
        try:
            answer = await self._kube.apply(wanted, field_manager=MANAGER, force=True)
        except KubeError as exc:
            log.warning("%s: %s", meta["name"], exc)
            if isinstance(exc, Temporary):
                return False
            self._refused[item.key] = wanted  # it would be refused again
            self._complain(item.scaled_object, str(exc))
            return True
        self._cache.remember(HORIZONTAL_POD_AUTOSCALER, answer)
        return True

    async def _drop_autoscaler(self, have: Object) -> bool:
        """The triggers that it was made of are gone: it would go on with their targets."""
        meta = have["metadata"]
        try:
            await self._kube.delete(
                HORIZONTAL_POD_AUTOSCALER, meta["name"], namespace=meta["namespace"], uid=meta["uid"]
            )
        except (NotFound, Conflict) as exc:
            log.info("%s: %s", meta["name"], exc)
        except KubeError as exc:
            log.warning("%s: not deleted: %s", meta["name"], exc)
            return False
        self._cache.forget(HORIZONTAL_POD_AUTOSCALER, have)
        return True

    async def _tell(self, item: Scaled, *, is_active: bool) -> bool:
        status = scaled_object_status(item.scaled_object, is_active=is_active)
        if status is None:
            return True
        meta = item.scaled_object["metadata"]
        patch = {"metadata": {"uid": meta["uid"]}, "status": status}
        try:
            answer = await self._kube.patch(
                SCALED_OBJECT,
                meta["name"],
                patch,
                type="merge",
                namespace=meta["namespace"],
                subresource="status",
                field_manager=MANAGER,
            )
        except NotFound:
            return True
        except KubeError as exc:
            log.warning("%s: its status is not written: %s", meta["name"], exc)
            return False
        self._cache.remember(SCALED_OBJECT, answer)
        return True


def who_wakes(held: int) -> str:
    """Why a Deployment at rest starts, for its event."""
    if not held:
        return "its minReplicaCount"
    return "1 request waits" if held == 1 else f"{held} requests wait"


def look_period_s(scaled: Sequence[Scaled]) -> float | None:
    """Short enough for the shortest cooldown of those that are awake; None where all rest, or none may."""
    cooldowns = [item.bounds.cooldown_s for item in scaled if item.bounds.rests and replicas_of(item.deployment)]
    return min(LOOK_MAX_S, max(LOOK_S, min(cooldowns) / LOOKS_PER_COOLDOWN)) if cooldowns else None
