"""A copy of some kinds, kept current for ever: list, watch, resume, list again when the history is gone."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self

from slipway.kube.client import Kube
from slipway.kube.errors import ApiError, Expired, KubeError, Temporary
from slipway.kube.kinds import Kind

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0
SHORT_WATCH_S = 1.0
"""A watch that ends sooner without an event is a failure: begun again at once, it would be for ever."""

log = logging.getLogger(__name__)
ObjectKey = tuple[str, str]
Object = dict[str, Any]


class Change(NamedTuple):
    """One object that is new, different or gone. ``namespace`` is empty for cluster-wide kinds."""

    kind: Kind
    namespace: str
    name: str


def backoff_s(failures: int, *, draw: Callable[[], float] = random.random) -> float:
    """The pause after the n-th failure in a row (from 1): doubling, capped, jittered down to a half."""
    ceiling = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 30))
    return ceiling * (0.5 + draw() / 2)


class Reflector:
    """Follows ``kinds`` (in one namespace, or in all). Use as ``async with``.

    ``objects(kind)`` is a live, read-only view; treat the dicts in it as constants. ``transform`` makes of each
    object what is kept. ``on_restart`` hears why a kind is listed or watched anew: ``Expired``, ``closed``, or an error's
    name.
    """

    def __init__(
        self,
        kube: Kube,
        kinds: Collection[Kind],
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        on_restart: Callable[[Kind, str], None] | None = None,
        transform: Callable[[Object], Object] = lambda obj: obj,
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._on_restart = on_restart
        self._transform = transform
        self._objects: dict[Kind, dict[ObjectKey, dict[str, Any]]] = {kind: {} for kind in kinds}
        self._listed: set[Kind] = set()
        self._pending: set[Change] = set()
        self._wake = asyncio.Event()
        self._synced = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for kind in self._objects:
            task = asyncio.create_task(self._follow(kind), name=f"reflector {kind}")
            task.add_done_callback(lambda _: self._wake.set())  # a crash must reach whoever waits
            self._tasks.append(task)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def objects(self, kind: Kind) -> Mapping[ObjectKey, dict[str, Any]]:
        """``(namespace, name)`` → object; KeyError for a kind that is not followed."""
        return MappingProxyType(self._objects[kind])

    @property
    def synced(self) -> bool:
        """Every kind has been listed at least once."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Returns when every kind has been listed; raises what ended a follower."""
        while not self.synced:
            waits = [asyncio.create_task(self._synced.wait()), *self._tasks]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waits[0].cancel()
            self._raise_crash()

    async def changed(self) -> frozenset[Change]:
        """What changed since the last call, waiting for at least one change. Many changes wake once."""
        while not self._pending:
            self._raise_crash()
            self._wake.clear()
            await self._wake.wait()
        changes = frozenset(self._pending)
        self._pending.clear()
        return changes

    async def _follow(self, kind: Kind) -> None:
        failures = 0
        version: str | None = None
        while True:
            begun_at, reason, pause = time.monotonic(), "closed", 0.0
            try:
                if version is None:
                    version = await self._list(kind)
                async for event in self._kube.watch(
                    kind,
                    namespace=self._namespace,
                    resource_version=version,
                    label_selector=self._label_selector,
                    field_selector=self._field_selector,
                ):
                    version = self._take(kind, event.type, event.object)
                    failures = 0
            except KubeError as exc:
                reason = type(exc).__name__
                failures = 1 if time.monotonic() - begun_at > BACKOFF_MAX_S else failures + 1
                if isinstance(exc, ApiError) and not isinstance(exc, Temporary):
                    version = None
                if not isinstance(exc, Expired) or failures > 1:
                    pause = _pause(exc, failures)
                    log.warning("%s: %s; again in %.1f s", kind, exc, pause)
            else:
                is_short = time.monotonic() - begun_at < SHORT_WATCH_S
                failures = failures + 1 if is_short else 0
                pause = backoff_s(failures) if failures > 1 else 0.0
            if self._on_restart is not None:
                self._on_restart(kind, reason)
            await asyncio.sleep(pause)

    async def _list(self, kind: Kind) -> str:
        listed = await self._kube.list(
            kind,
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        store = self._objects[kind]
        fresh = {_key(item): self._transform(item) for item in listed.items}
        changes = {Change(kind, *key) for key in store.keys() - fresh.keys()}
        changes |= {Change(kind, *key) for key, item in fresh.items() if _version(store.get(key)) != _version(item)}
        store.clear()
        store.update(fresh)
        self._listed.add(kind)
        if len(self._listed) == len(self._objects):
            self._synced.set()
        self._notify(changes)
        return listed.resource_version

    def _take(self, kind: Kind, event: str, obj: dict[str, Any]) -> str:
        """Apply one event; the version to resume from."""
        version = _version(obj)
        if event == "BOOKMARK":
            return version
        key = _key(obj)
        if event == "DELETED":
            self._objects[kind].pop(key, None)
        else:
            self._objects[kind][key] = self._transform(obj)
        self._notify({Change(kind, *key)})
        return version

    def _notify(self, changes: set[Change]) -> None:
        if changes:
            self._pending |= changes  # bounded by the number of objects: a set of keys
            self._wake.set()

    def _raise_crash(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error


def _pause(error: KubeError, failures: int) -> float:
    wish = error.retry_after_s if isinstance(error, Temporary) else None
    return max(backoff_s(failures), min(wish or 0.0, BACKOFF_MAX_S))


def _key(obj: Mapping[str, Any]) -> ObjectKey:
    meta = obj["metadata"]
    return meta.get("namespace", ""), meta["name"]


def _version(obj: Mapping[str, Any] | None) -> str:
    return str(obj["metadata"]["resourceVersion"]) if obj else ""
