"""Watches: each write is offered to the watchers of its kind, through a bounded queue per watcher."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from slipway.onebox.api.errors import Refused, expired
from slipway.onebox.api.selectors import Predicate
from slipway.onebox.api.store import Store, Write
from slipway.onebox.api.target import Object, Target

MAX_WATCHERS = 512
QUEUE_EVENTS = 2_000
"""Events a slow watcher may be behind: then its stream ends, and it begins again from its last version."""
BOOKMARK_S = 60.0
FUTURE_WAIT_S = 3.0


@dataclass(frozen=True)
class Event:
    """``obj`` in its stored form."""

    type: str
    obj: Object


@dataclass(eq=False)
class Watcher:
    """One open stream."""

    target: Target
    matches: Predicate | None
    queue: asyncio.Queue[Event | None] = field(default_factory=lambda: asyncio.Queue(QUEUE_EVENTS + 1))
    is_slow: bool = False

    def offer(self, write: Write) -> None:
        event = transition(write, self.target, self.matches)
        if event is None or self.is_slow:
            return
        if self.queue.qsize() >= QUEUE_EVENTS:
            self.is_slow = True
            self.queue.put_nowait(None)
            return
        self.queue.put_nowait(event)


def transition(write: Write, target: Target, matches: Predicate | None) -> Event | None:
    """What a watcher sees of a write: an object that leaves the selection is deleted, one that enters it is added."""
    if target.namespace and write.key[0] != target.namespace:
        return None
    if target.name and write.key[1] != target.name:
        return None
    was = write.old is not None and (matches is None or matches(write.old))
    now = write.new is not None and (matches is None or matches(write.new))
    if now:
        return Event("MODIFIED" if was else "ADDED", write.last)
    if was and write.old is not None:
        meta = {**write.old["metadata"], "resourceVersion": str(write.version)}
        return Event("DELETED", {**write.old, "metadata": meta})
    return None


class WatchHub:
    """All open streams."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watchers: defaultdict[str, set[Watcher]] = defaultdict(set)
        self._version_waiters: set[asyncio.Event] = set()
        store.listen(self._on_write)

    def _on_write(self, write: Write) -> None:
        for watcher in self._watchers.get(write.resource, ()):
            watcher.offer(write)
        for waiter in self._version_waiters:
            waiter.set()

    @property
    def count(self) -> int:
        return sum(len(watchers) for watchers in self._watchers.values())

    def close(self) -> None:
        """End every stream."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.is_slow = True
                watcher.queue.put_nowait(None)

    def open(self, target: Target, matches: Predicate | None, *, version: int) -> Watcher:
        """A registered watcher with the events after ``version`` in its queue. Refused 410 or 429."""
        if version < self._store.oldest:
            raise expired(f"too old resource version: {version} ({self._store.oldest})")
        if self.count >= MAX_WATCHERS:
            message = f"too many watches are open ({MAX_WATCHERS}): close some, or watch several namespaces with one"
            raise Refused(429, message, reason="TooManyRequests", details={"retryAfterSeconds": 1})
        watcher = Watcher(target, matches)
        for write in self._store.since(version, target.resource.storage):
            watcher.offer(write)
        self._watchers[target.resource.storage].add(watcher)
        return watcher

    def forget(self, watcher: Watcher) -> None:
        self._watchers[watcher.target.resource.storage].discard(watcher)

    async def reached(self, version: int) -> bool:
        """Wait a little for a version that is not there yet."""
        waiter = asyncio.Event()
        self._version_waiters.add(waiter)
        try:
            async with asyncio.timeout(FUTURE_WAIT_S):
                while self._store.version < version:
                    waiter.clear()
                    await waiter.wait()
        except TimeoutError:
            return False
        finally:
            self._version_waiters.discard(waiter)
        return True


async def events(watcher: Watcher, *, deadline: float, bookmarks: bool) -> AsyncIterator[Event | None]:
    """Events until ``deadline`` (event loop time); None asks for a bookmark: about once a minute and at the end."""
    loop = asyncio.get_running_loop()
    while (left := deadline - loop.time()) > 0:
        try:
            async with asyncio.timeout(min(left, BOOKMARK_S)):
                event = await watcher.queue.get()
        except TimeoutError:
            if bookmarks:
                yield None
            continue
        if event is None:
            return
        yield event


def initial(objects: Iterator[Object]) -> Iterator[Event]:
    """What exists, as ADDED events, oldest write first."""
    for obj in sorted(objects, key=lambda obj: int(obj["metadata"]["resourceVersion"])):
        yield Event("ADDED", obj)
