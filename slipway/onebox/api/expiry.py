"""Events go after an hour, as a kube-apiserver's ``--event-ttl`` has it, and there are only so many at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from slipway.onebox.api.history import Object, ObjectKey, Write
from slipway.onebox.api.store import Store

log = logging.getLogger(__name__)
EVENTS = "events"
EVENT_TTL_S = 3600.0
"""From the last write of an Event: the default of kube-apiserver."""
MAX_EVENTS = 5_000
"""Of all namespaces; whoever has the most loses the oldest."""
KEPT_EVENTS = 4_500
"""So many are left when there were too many, so that not every further Event costs a deletion at once."""
ROUND_S = 60.0
RETRY_S = 5.0
"""After a sweep that failed, as on a full disk: it is logged, and done again."""
Written = dict[str, dict[str, float]]
"""Namespace → name → time of the last write in seconds since 1970, oldest first."""


def written_at(obj: Object, *, now: float) -> float:
    """When a stored object was last written, as far as the server's own stamps say; never in the future."""
    meta = obj["metadata"]
    stamps = [meta.get("creationTimestamp"), *(entry.get("time") for entry in meta.get("managedFields") or ())]
    return min(now, max((_seconds(stamp) for stamp in stamps if isinstance(stamp, str)), default=0.0))


def _seconds(stamp: str) -> float:
    try:
        return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:  # a client may write what it likes into managedFields
        return 0.0


def too_old(written: Written, *, now: float) -> Iterator[ObjectKey]:
    """The Events whose time is over."""
    for namespace, names in written.items():
        for name, at in names.items():
            if now - at < EVENT_TTL_S:
                break
            yield namespace, name


def too_many(written: Mapping[str, Mapping[str, float]]) -> Iterator[ObjectKey]:
    """The oldest Events of the namespaces that have the most, where there are more than ``MAX_EVENTS`` in all."""
    left = {namespace: list(names) for namespace, names in written.items()}
    surplus = sum(map(len, left.values())) - KEPT_EVENTS
    if surplus <= MAX_EVENTS - KEPT_EVENTS:
        return
    allowed = _share(list(map(len, left.values())), surplus)
    for namespace, names in left.items():
        yield from ((namespace, name) for name in names[: max(0, len(names) - allowed)])


def _share(sizes: list[int], surplus: int) -> int:
    """The largest number that every namespace may keep so that at least ``surplus`` go, by bisection."""
    low, high = 0, max(sizes)
    while low < high:
        middle = (low + high + 1) // 2
        is_enough = sum(max(0, size - middle) for size in sizes) >= surplus
        low, high = (middle, high) if is_enough else (low, middle - 1)
    return low


class EventExpiry:
    """Follows the writes of Events and removes those that are due."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._written: Written = {}
        self._wake = asyncio.Event()
        now = clock()
        stored = sorted((written_at(obj, now=now), key) for key, obj in store.all(EVENTS).items())
        for at, (namespace, name) in stored:
            self._written.setdefault(namespace, {})[name] = at
        store.listen(self._on_write)

    def _on_write(self, write: Write) -> None:
        if write.resource != EVENTS:
            return
        namespace, name = write.key
        names = self._written.setdefault(namespace, {})
        names.pop(name, None)
        if write.new is not None:
            names[name] = self._clock()
        elif not names:
            del self._written[namespace]
        if sum(map(len, self._written.values())) > MAX_EVENTS:
            self._wake.set()

    def sweep(self) -> None:
        """Remove what is due now."""
        for namespace, name in [*too_old(self._written, now=self._clock())]:
            self._store.remove(EVENTS, (namespace, name))
        for namespace, name in [*too_many(self._written)]:
            self._store.remove(EVENTS, (namespace, name))

    async def run(self) -> None:
        """For ever: once a minute, and when there are too many."""
        while True:
            try:
                self.sweep()
            except Exception:
                log.exception("Events that are due stay, the next try is in %g s", RETRY_S)
                await asyncio.sleep(RETRY_S)
                continue
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ROUND_S):
                    await self._wake.wait()
