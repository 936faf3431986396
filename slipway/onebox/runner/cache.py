"""What the API holds, as the watch shows it, plus our own writes that the watch has not shown yet.

Without them a plan made right after a write would ask for the same write again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.kube.kinds import Kind
from slipway.kube.reflector import ObjectKey, Reflector
from slipway.onebox.runner.spec import Object

MAX_AGE_S = 10.0
"""A write that the watch has not shown by then was overtaken (deleted at once, for example)."""


@dataclass(frozen=True)
class Write:
    """``obj`` is None for an object (of this uid) that is gone."""

    obj: Object | None
    uid: str
    at: float


class Cache:
    """Read it with ``objects``; tell it what the API answered to a write."""

    def __init__(self, reflector: Reflector, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._reflector = reflector
        self._clock = clock
        self._writes: dict[tuple[Kind, ObjectKey], Write] = {}

    def objects(self, kind: Kind) -> dict[ObjectKey, Object]:
        merged: dict[ObjectKey, Object] = dict(self._reflector.objects(kind))
        for (of, key), write in list(self._writes.items()):
            if of != kind:
                continue
            seen = merged.get(key)
            if self._clock() - write.at > MAX_AGE_S or _is_shown(write, seen):
                del self._writes[(of, key)]
            elif write.obj is None:
                merged.pop(key, None)
            else:
                merged[key] = write.obj
        return merged

    def remember(self, kind: Kind, answer: Mapping[str, Any]) -> None:
        """``answer`` is the object that a create or a patch gave back."""
        obj = {"apiVersion": kind.api_version, "kind": kind.kind, **answer}
        self._writes[(kind, key_of(obj))] = Write(obj, obj["metadata"]["uid"], self._clock())

    def forget(self, kind: Kind, obj: Object) -> None:
        """It was deleted."""
        self._writes[(kind, key_of(obj))] = Write(None, obj["metadata"]["uid"], self._clock())


def key_of(obj: Object) -> ObjectKey:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _is_shown(write: Write, seen: Object | None) -> bool:
    if write.obj is None:
        return seen is None or seen["metadata"]["uid"] != write.uid
    return seen is not None and _version(seen) >= _version(write.obj)


def _version(obj: Object) -> int:
    """Opaque to clients by the letter; a growing number in etcd, in ours, and officially since Kubernetes 1.35."""
    return int(obj["metadata"]["resourceVersion"])
