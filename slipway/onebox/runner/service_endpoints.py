"""The endpoint controller. A task of its own: who may be sent requests does not wait for Pods that are being made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from slipway.kube.kinds import ENDPOINT_SLICE, POD, SERVICE, Kind
from slipway.kube.malformed import MALFORMED
from slipway.onebox.runner.cache import Cache
from slipway.onebox.runner.endpoints import plan_endpoints
from slipway.onebox.runner.events import Events
from slipway.onebox.runner.rounds import MAX_SLEEP_S, RETRY_S, Rounds
from slipway.onebox.runner.spec import Object
from slipway.onebox.runner.workload_writes import Writes


class ServiceEndpoints:
    """``wake`` after any change; ``run`` for ever."""

    def __init__(self, writes: Writes, cache: Cache, events: Events) -> None:
        self._writes = writes
        self._cache = cache
        self._events = events
        rounds = Rounds(self._round)
        self.wake, self.run = rounds.wake, rounds.run

    async def _round(self) -> float:
        done, pods, slices = True, self._by_namespace(POD), self._by_namespace(ENDPOINT_SLICE)
        for (namespace, _), service in self._cache.objects(SERVICE).items():
            try:
                steps = plan_endpoints(service, pods.get(namespace, ()), slices.get(namespace, ()))
            except MALFORMED as exc:  # a Service, or a Pod, that no controller could read
                self._events.cannot_plan(service, exc)
                continue
            done = await self._writes.apply(service, steps) and done
        return MAX_SLEEP_S if done else RETRY_S

    def _by_namespace(self, kind: Kind) -> Mapping[str, list[Object]]:
        found: defaultdict[str, list[Object]] = defaultdict(list)
        for (namespace, _), obj in self._cache.objects(kind).items():
            found[namespace].append(obj)
        return found
