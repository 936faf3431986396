"""The last writes, kept for watches and for lists at an older version: as compressed JSON, for some minutes.

As Python values they would take ten to twenty times as much, and most are never read: who watches hears of a write when
it happens. A value is read back only for a watch that begins at an older version, and only when it is sent.
"""

from __future__ import annotations

import json
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

HISTORY_EVENTS = 10_000
"""Writes kept for watches: an older resource version is 410."""
HISTORY_BYTES = 64 * 1024 * 1024
"""What the kept writes may take together, as JSON."""
HISTORY_S = 300.0
"""For how long at most: what an API server asks etcd to keep (kube-apiserver's ``--etcd-compaction-interval``)."""
FASTEST = 1  # zlib's level: three quarters less in about 100 microseconds
Object = dict[str, Any]
ObjectKey = tuple[str, str]  # namespace (empty for cluster-wide kinds), name


@dataclass(frozen=True)
class Write:
    """One change: ``old`` is None for a creation, ``new`` is None for a deletion.

    ``last`` is the object a watcher sees: the new one, or the deleted one with the version of its deletion.
    """

    version: int
    resource: str
    key: ObjectKey
    old: Object | None
    new: Object | None
    last: Object


@dataclass(frozen=True)
class Kept:
    """A write of the history. ``old`` and ``new`` are compressed; one write's ``old`` is the ``new`` of the one before."""

    version: int
    resource: str
    key: ObjectKey
    old: bytes | None
    new: bytes | None
    size: int  # of the object in bytes of JSON
    at: float  # when it was written, on the history's clock

    def write(self) -> Write:
        """What was written, as values of the caller's own."""
        old, new = _unpacked(self.old), _unpacked(self.new)
        last = new if new is not None else at_version(old or {}, self.version)
        return Write(self.version, self.resource, self.key, old, new, last)


def at_version(obj: Mapping[str, Any], version: int) -> Object:
    """``obj`` under another resource version."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


def _packed(body: str) -> bytes:
    return zlib.compress(body.encode(), FASTEST)


def _unpacked(packed: bytes | None) -> Object | None:
    if packed is None:
        return None
    obj: Object = json.loads(zlib.decompress(packed))
    return obj


class History:
    """``oldest`` is the lowest version a watch can start from: what was before it is not known any more."""

    def __init__(self, version: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.oldest = version
        self._clock = clock
        self._writes: deque[Kept] = deque()
        self._bytes = 0
        self._newest: dict[tuple[str, ObjectKey], Kept] = {}

    def add(self, write: Write, *, body: str | None, size: int) -> None:
        """``body``: the new object as JSON, None for a deletion; ``size``: of the object, in bytes of JSON."""
        place = (write.resource, write.key)
        before = self._newest.get(place)
        old = before.new if before is not None else None
        if old is None and write.old is not None:
            old = _packed(json.dumps(write.old, separators=(",", ":")))
        new = _packed(body) if body is not None else None
        kept = Kept(write.version, write.resource, write.key, old, new, size, self._clock())
        self._writes.append(kept)
        self._newest[place] = kept
        self._bytes += size
        while len(self._writes) > HISTORY_EVENTS or self._bytes > HISTORY_BYTES:
            self._drop_first()

    def drop_old(self) -> bool:
        """Let go of what is older than ``HISTORY_S``; was there any?"""
        before = self.oldest
        while self._writes and self._clock() - self._writes[0].at > HISTORY_S:
            self._drop_first()
        return self.oldest > before

    def _drop_first(self) -> None:
        gone = self._writes.popleft()
        self._bytes -= gone.size
        self.oldest = gone.version
        place = (gone.resource, gone.key)
        if self._newest[place] is gone:
            del self._newest[place]

    def since(self, version: int, resource: str) -> Iterator[Kept]:
        """Writes to ``resource`` after ``version``, oldest first; ``version`` must be at least ``oldest``."""
        return (kept for kept in self._writes if kept.version > version and kept.resource == resource)

    def at(self, version: int, resource: str, now: Mapping[ObjectKey, Object]) -> dict[ObjectKey, Object]:
        """A collection that is ``now`` as it was at ``version``, which must be at least ``oldest``."""
        first: dict[ObjectKey, Kept] = {}
        for kept in reversed(self._writes):
            if kept.version <= version:
                break
            if kept.resource == resource:
                first[kept.key] = kept
        state = {key: obj for key, obj in now.items() if key not in first}
        for key, kept in first.items():
            old = _unpacked(kept.old)
            if old is not None:
                state[key] = old
        return state
