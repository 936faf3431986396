"""Watches: each write is offered to the watchers of its kind, who keep what they have not sent yet.

What is kept for a watcher is in the store's history as well: once the history lets go of it, the watcher is too slow.
So all watchers together hold no more than the history's writes, however many there are and however slowly they read:
what a write brings is one object for all of them, and what comes from the history stays compressed until it is sent.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from slipway.onebox.api.errors import Refused, expired
from slipway.onebox.api.history import Kept, ObjectKey, Write, at_version
from slipway.onebox.api.selectors import Predicate
from slipway.onebox.api.store import Store
from slipway.onebox.api.target import Object, Target
from slipway.serving.memory import return_free_memory

MAX_WATCHERS = 512
KEPT_FOR_ADMIN = 128
"""Of those, what only the administrator's programs may open: the controller, the runner and the mesh."""
MAX_WATCHERS_OF_ONE = 96
"""Of one user."""
QUEUE_EVENTS = 2_000
"""Events a slow watcher may be behind: then its stream ends, and it begins again from its last version."""
BOOKMARK_S = 60.0
FUTURE_WAIT_S = 3.0
ROUND_S = 30.0
"""Between two looks for what is too old to be kept."""


@dataclass(frozen=True)
class Event:
    """``obj`` in its stored form."""

    type: str
    obj: Object
    version: int


@dataclass(eq=False)
class Watcher:
    """One open stream. ``since`` is the version that it still needs the history from."""

    target: Target
    matches: Predicate | None
    user: str
    since: int
    is_admin: bool = False
    pending: deque[Event | Kept] = field(default_factory=deque)
    is_over: bool = False
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, write: Write) -> None:
        self._take(transition(write, self.target, self.matches))

    def offer_kept(self, kept: Kept) -> None:
        """A write of the history: read back now only where there is a selector, else when it is sent."""
        if not covers(self.target, kept.key):
            return
        if self.matches is None or transition(kept.write(), self.target, self.matches) is not None:
            self._take(kept)

    def _take(self, event: Event | Kept | None) -> None:
        if event is None or self.is_over:
            return
        if len(self.pending) >= QUEUE_EVENTS:
            self.end()
            return
        self.pending.append(event)
        self._wake.set()

    def end(self) -> None:
        """Nothing comes after what is pending."""
        self.is_over = True
        self._wake.set()

    def check(self, oldest: int) -> None:
        """Drop everything where it needs what the history no longer has."""
        behind = self.pending[0].version if self.pending else oldest + 1
        if min(behind, self.since + 1) <= oldest:
            self.pending.clear()
            self.end()

    async def next(self) -> Event | None:
        """None at the end."""
        while not self.pending:
            if self.is_over:
                return None
            self._wake.clear()
            await self._wake.wait()
        event = self.pending.popleft()
        return event if isinstance(event, Event) else transition(event.write(), self.target, self.matches)


def covers(target: Target, key: ObjectKey) -> bool:
    """Is an object of the target's kind one that it is about?"""
    return target.namespace in ("", key[0]) and target.name in ("", key[1])


def transition(write: Write, target: Target, matches: Predicate | None) -> Event | None:
    """What a watcher sees of a write: an object that leaves the selection is deleted, one that enters it is added."""
    if not covers(target, write.key):
        return None
    was = write.old is not None and (matches is None or matches(write.old))
    now = write.new is not None and (matches is None or matches(write.new))
    if now:
        return Event("MODIFIED" if was else "ADDED", write.last, write.version)
    if was and write.old is not None:
        return Event("DELETED", at_version(write.old, write.version), write.version)
    return None


class WatchHub:
    """All open streams."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watchers: defaultdict[str, set[Watcher]] = defaultdict(set)
        self._version_waiters: set[asyncio.Event] = set()
        self._oldest = store.oldest
        store.listen(self._on_write)

    def _on_write(self, write: Write) -> None:
        for watcher in self._watchers.get(write.resource, ()):
            watcher.offer(write)
        for waiter in self._version_waiters:
            waiter.set()
        self._check()

    def _check(self) -> None:
        """End the watchers that need what the history has let go of."""
        if self._store.oldest > self._oldest:
            self._oldest = self._store.oldest
            for watcher in self._all():
                watcher.check(self._oldest)

    def drop_old(self) -> None:
        """Let go of the writes that are too old, and give their memory back."""
        if self._store.history.drop_old():
            self._check()
            return_free_memory()

    async def run(self) -> None:
        """For ever: keep the history as short as it may be, also where nothing is written."""
        while True:
            await asyncio.sleep(ROUND_S)
            self.drop_old()

    def _all(self) -> Iterator[Watcher]:
        return (watcher for watchers in self._watchers.values() for watcher in watchers)

    @property
    def count(self) -> int:
        return sum(len(watchers) for watchers in self._watchers.values())

    def close(self) -> None:
        """End every stream."""
        for watcher in self._all():
            watcher.end()

    def open(self, target: Target, matches: Predicate | None, *, version: int, user: str, is_admin: bool) -> Watcher:
        """A registered watcher with the events after ``version`` pending. Refused 410 or 429."""
        if version < self._store.oldest:
            raise expired(f"too old resource version: {version} ({self._store.oldest})")
        self._check_number(user, is_admin=is_admin)
        watcher = Watcher(target, matches, user, version, is_admin)
        for kept in self._store.since(version, target.resource.storage):
            watcher.offer_kept(kept)
        self._watchers[target.resource.storage].add(watcher)
        return watcher

    def _check_number(self, user: str, *, is_admin: bool) -> None:
        everybody = self.count
        others = sum(not watcher.is_admin for watcher in self._all())
        mine = sum(watcher.user == user for watcher in self._all())
        full = everybody >= MAX_WATCHERS
        if not is_admin:
            full = full or others >= MAX_WATCHERS - KEPT_FOR_ADMIN or mine >= MAX_WATCHERS_OF_ONE
        if full:
            message = f"too many watches are open ({mine} of {user}): close some, or watch several namespaces with one"
            raise Refused(429, message, reason="TooManyRequests", details={"retryAfterSeconds": 1})

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
    """Events until ``deadline`` (event loop time); None asks for a bookmark: about once a minute and at the end.

    Never while an event is pending: who goes on from a bookmark is not told what was written before it.
    """
    loop = asyncio.get_running_loop()
    while (left := deadline - loop.time()) > 0:
        try:
            async with asyncio.timeout(min(left, BOOKMARK_S)):
                event = await watcher.next()
        except TimeoutError:
            if bookmarks and not watcher.pending:
                yield None
            continue
        if event is None:
            return
        yield event


def initial(objects: Iterator[Object]) -> Iterator[Event]:
    """What exists, as ADDED events, oldest write first."""
    versioned = ((int(obj["metadata"]["resourceVersion"]), obj) for obj in objects)
    for version, obj in sorted(versioned, key=lambda pair: pair[0]):
        yield Event("ADDED", obj, version)
