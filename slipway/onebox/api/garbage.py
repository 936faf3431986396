"""What a controller manager does for deletions: owners that are gone take their dependents, namespaces their objects."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from slipway.onebox.api.deletion import FOREGROUND, ORPHAN, DeleteOptions, Deletion
from slipway.onebox.api.errors import Refused
from slipway.onebox.api.history import ObjectKey, Write
from slipway.onebox.api.objects import Objects
from slipway.onebox.api.target import Options, Target

log = logging.getLogger(__name__)
Place = tuple[str, ObjectKey]  # storage name and key
MANAGER = "kube-controller-manager"  # whose part this is in a cluster
RETRY_S = 1.0
MAX_RETRY_S = 60.0
"""Work that failed or was refused is tried again after the one, each time after twice as long, up to the other."""
QUICKER = (404, 409)
"""Somebody else was: whatever that changed wakes the collector."""


class GarbageCollector:
    """Woken by writes; keeps an index of uids and of owners, so that a round looks only at what may be due."""

    def __init__(self, objects: Objects, deletion: Deletion) -> None:
        self._store = objects.store
        self._objects = objects
        self._deletion = deletion
        self._places: dict[str, Place] = {}
        self._dependents: defaultdict[str, set[Place]] = defaultdict(set)
        self._due: set[Place] = set()
        self._pauses: dict[Place, float] = {}
        self._waiting: set[Place] = set()
        """For the end of their pause."""
        self._wake = asyncio.Event()
        for storage in self._store.resources():
            for key, obj in self._store.all(storage).items():
                self._index(storage, key, obj)
                self._due.add((storage, key))
        self._store.listen(self._on_write)

    async def run(self) -> None:
        """For ever: one round per wake-up, giving way between objects."""
        while True:
            if not self._due:
                self._wake.clear()
                await self._wake.wait()
            due, self._due = self._due, set()
            for place in due:
                self._try(place)
                await asyncio.sleep(0)

    def _try(self, place: Place) -> None:
        try:
            self._look_at(place)
        except Refused as exc:
            if exc.code not in QUICKER:
                log.warning("garbage collector: %s: %s", place, exc)
                self._try_later(place)
                return
            log.debug("garbage collector: %s: %s", place, exc)
        except Exception:  # a defect
            log.exception("garbage collector: %s", place)
            self._try_later(place)
            return
        self._pauses.pop(place, None)

    def _try_later(self, place: Place) -> None:
        if place not in self._waiting:
            pause_s = self._pauses[place] = min(2 * self._pauses.get(place, RETRY_S / 2), MAX_RETRY_S)
            self._waiting.add(place)
            asyncio.get_running_loop().call_later(pause_s, self._try_again, place)

    def _try_again(self, place: Place) -> None:
        self._waiting.discard(place)
        self._due.add(place)
        self._wake.set()

    def _on_write(self, write: Write) -> None:
        place = (write.resource, write.key)
        if write.old is not None:
            for uid in _owners(write.old):
                self._dependents[uid].discard(place)
                self._wake_owner(uid)
        if write.new is None:
            uid = write.last["metadata"]["uid"]
            self._places.pop(uid, None)
            self._due |= self._dependents.pop(uid, set())
            self._wake_namespace(write.key[0])
        else:
            self._index(write.resource, write.key, write.new)
            if _owners(write.new) or write.new["metadata"].get("deletionTimestamp"):
                self._due.add(place)
        if self._due:
            self._wake.set()

    def _index(self, storage: str, key: ObjectKey, obj: Mapping[str, Any]) -> None:
        self._places[obj["metadata"]["uid"]] = (storage, key)
        for uid in _owners(obj):
            self._dependents[uid].add((storage, key))

    def _wake_owner(self, uid: str) -> None:
        owner = self._places.get(uid)
        if owner is not None:
            self._due.add(owner)

    def _wake_namespace(self, name: str) -> None:
        namespace = self._store.get("namespaces", ("", name)) if name else None
        if namespace and namespace["metadata"].get("deletionTimestamp"):
            self._due.add(("namespaces", ("", name)))

    def _look_at(self, place: Place) -> None:
        storage, key = place
        obj = self._store.get(storage, key)
        if obj is None:
            return
        meta = obj["metadata"]
        finalizers = meta.get("finalizers") or ()
        if meta.get("deletionTimestamp"):
            if storage == "namespaces":
                self._empty_namespace(key)
            elif ORPHAN in finalizers:
                self._orphan(place, meta["uid"])
            elif FOREGROUND in finalizers:
                self._foreground(place, meta["uid"])
            return
        owners = list(_owners(obj))
        if owners and not any(uid in self._places for uid in owners):
            self._delete(place, "Background")

    def _orphan(self, place: Place, uid: str) -> None:
        for storage, key in list(self._dependents.get(uid, ())):
            child = self._store.get(storage, key)
            if child is None:
                continue
            target = self._target(storage, key)
            left = [owner for owner in child["metadata"]["ownerReferences"] if owner["uid"] != uid]
            meta = {
                name: value
                for name, value in child["metadata"].items()
                if name not in ("ownerReferences", "managedFields")
            }
            changed = {**child, "metadata": {**meta, "ownerReferences": left} if left else meta}
            self._objects.update(target, child, changed, Options(MANAGER))
        self._deletion.drop_finalizer(*place, ORPHAN)

    def _foreground(self, place: Place, uid: str) -> None:
        children = list(self._dependents.get(uid, ()))
        for child in children:
            obj = self._store.get(*child)
            if obj is not None and not obj["metadata"].get("deletionTimestamp"):
                self._delete(child, "Foreground" if self._dependents.get(obj["metadata"]["uid"]) else "Background")
        blocking = [child for child in self._dependents.get(uid, ()) if _blocks(self._store.get(*child), uid)]
        if not blocking:
            self._deletion.drop_finalizer(*place, FOREGROUND)

    def _empty_namespace(self, key: ObjectKey) -> None:
        name, left = key[1], 0
        for storage in self._store.resources():
            for place in [(storage, other) for other in self._store.all(storage) if other[0] == name]:
                obj = self._store.get(*place)
                if obj is None:
                    continue
                left += 1
                if not obj["metadata"].get("deletionTimestamp"):
                    self._delete(place, "Background")
                    left -= self._store.get(*place) is None
        namespace = self._store.get("namespaces", key)
        if not left and namespace is not None and not namespace["metadata"].get("finalizers"):
            self._store.remove("namespaces", key)

    def _delete(self, place: Place, policy: str) -> None:
        try:
            target = self._target(*place)
        except KeyError:  # the definition is gone, and with it everything that could read this object
            self._store.remove(*place)
            return
        self._deletion.delete(target, DeleteOptions(policy=policy))

    def _target(self, storage: str, key: ObjectKey) -> Target:
        resource = self._objects.catalog.by_storage(storage)
        return Target(resource, resource.stored_version, *key)


def _owners(obj: Mapping[str, Any]) -> Iterator[str]:
    for owner in obj["metadata"].get("ownerReferences") or ():
        yield owner["uid"]


def _blocks(obj: Mapping[str, Any] | None, uid: str) -> bool:
    return obj is not None and any(
        owner["uid"] == uid and owner.get("blockOwnerDeletion")
        for owner in obj["metadata"].get("ownerReferences") or ()
    )
