"""The objects: all in memory, each write one SQLite transaction, one counter for every resource version.

A bounded history of writes (see ``history``) serves watches and lists at an older version. It lives in memory only: after
a restart everything before the start is too old, which is what 410 is for.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

from slipway.onebox.api.errors import Refused
from slipway.onebox.api.history import History, Kept, Object, ObjectKey, Write, at_version

MAX_OBJECT_BYTES = 6 * 1024 * 1024
"""One stored object: a body of 3 MiB, and who owns its fields. Many patches would make it grow without end."""
MAX_STORED_BYTES = 256 * 1024 * 1024
"""All objects together, as JSON (etcd has such a quota too); they are in memory. Beyond it nothing new is taken."""
MAX_GROWTH_BYTES = 64 * 1024
"""What a change may add beyond MAX_STORED_BYTES, so that controllers still write status."""
BUSY_TIMEOUT_S = 5.0
MAX_SHARED_CHARS = 64
"""Longer strings are hardly ever the same in two objects."""
log = logging.getLogger(__name__)
_TABLES = """
create table if not exists objects (
  resource text not null, namespace text not null, name text not null, version integer not null, body text not null,
  primary key (resource, namespace, name)
) without rowid;
create table if not exists counter (only_row integer primary key check (only_row = 1), version integer not null);
insert or ignore into counter values (1, 1);
"""


def sharing_strings(value: Any) -> Any:
    """A copy of a JSON value that has each key and short string in common with the others that are in memory.

    Objects are alike in most of their strings; each with its own would take nearly twice the memory.
    """
    if isinstance(value, dict):
        return {sys.intern(key): sharing_strings(child) for key, child in value.items()}
    if isinstance(value, list):
        return [sharing_strings(item) for item in value]
    return sys.intern(value) if type(value) is str and len(value) <= MAX_SHARED_CHARS else value


class Store:
    """``resource`` names a collection: ``deployments.apps``. Objects that leave are shared: never change them."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
        path.chmod(0o600)  # Secrets are inside
        self._db.execute("pragma locking_mode=exclusive")  # two servers on one file would lose writes
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=full")  # as etcd: what was answered survives a power cut
        self._db.executescript(_TABLES)
        self._objects: dict[str, dict[ObjectKey, Object]] = {}
        self._sizes: dict[tuple[str, ObjectKey], int] = {}
        for resource, namespace, name, body in self._db.execute("select resource, namespace, name, body from objects"):
            self._objects.setdefault(resource, {})[namespace, name] = sharing_strings(json.loads(body))
            self._sizes[resource, (namespace, name)] = len(body)
        self.stored_bytes = sum(self._sizes.values())
        self.version: int = self._db.execute("select version from counter").fetchone()[0]
        self.history = History(self.version)
        self._listeners: list[Callable[[Write], None]] = []

    def close(self) -> None:
        self._db.close()

    def copy_to(self, path: Path) -> None:
        """Write all objects, as they are now, to a new SQLite file that a store can be opened on."""
        with closing(sqlite3.connect(path)) as target:
            self._db.backup(target)

    def listen(self, listener: Callable[[Write], None]) -> None:
        """``listener`` is called after each write, in order, and may not write itself."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[Write], None]) -> None:
        self._listeners.remove(listener)

    def get(self, resource: str, key: ObjectKey) -> Object | None:
        return self._objects.get(resource, {}).get(key)

    def all(self, resource: str) -> Mapping[ObjectKey, Object]:
        return MappingProxyType(self._objects.get(resource, {}))

    def resources(self) -> list[str]:
        return list(self._objects)

    def put(self, resource: str, key: ObjectKey, obj: Object) -> Object:
        """Write ``obj`` under the next version, which it carries afterwards; it is on disk when this returns.

        Refused 413 or 507 where it, or the disk, takes no more; 500 where the disk fails.
        """
        version = self.version + 1
        stored: Object = sharing_strings(at_version(obj, version))
        body = json.dumps(stored, separators=(",", ":"))
        growth = self._growth(resource, key, len(body))
        self._commit(
            version,
            "insert or replace into objects values (?, ?, ?, ?, ?)",
            (resource, *key, version, body),
        )
        objects = self._objects.setdefault(resource, {})
        old = objects.get(key)
        objects[key] = stored
        self._sizes[resource, key] = len(body)
        self.stored_bytes += growth
        self._record(Write(version, resource, key, old, stored, stored), body, len(body))
        return stored

    def _growth(self, resource: str, key: ObjectKey, size: int) -> int:
        """By how many bytes an object of ``size`` makes the store larger. Refused 413 or 507 where that is too much."""
        if size > MAX_OBJECT_BYTES:
            message = f"Request entity too large: {key[1]} would take {size} bytes, at most {MAX_OBJECT_BYTES} are kept"
            raise Refused(413, message, reason="RequestEntityTooLarge")
        known = self._sizes.get((resource, key))
        growth = size - (known or 0)
        allowed = 0 if known is None else MAX_GROWTH_BYTES
        if growth > allowed and self.stored_bytes + growth > MAX_STORED_BYTES:
            message = f"all objects together may take {MAX_STORED_BYTES} bytes, which they nearly do: delete some first"
            raise Refused(507, message, reason="InsufficientStorage")
        return growth

    def remove(self, resource: str, key: ObjectKey) -> Object:
        """Delete; the object as it was, with the version of the deletion. KeyError when it is not there."""
        old = self._objects[resource][key]
        version = self.version + 1
        self._commit(version, "delete from objects where resource = ? and namespace = ? and name = ?", (resource, *key))
        del self._objects[resource][key]
        last = at_version(old, version)
        size = self._sizes.pop((resource, key))
        self.stored_bytes -= size
        self._record(Write(version, resource, key, old, None, last), None, size)
        return last

    def _commit(self, version: int, statement: str, values: tuple[Any, ...]) -> None:
        try:
            self._db.execute("begin immediate")
            self._db.execute(statement, values)
            self._db.execute("update counter set version = ?", (version,))
            self._db.execute("commit")
        except BaseException as error:
            if self._db.in_transaction:  # SQLite itself ends one that meets a full disk
                self._db.execute("rollback")
            if isinstance(error, sqlite3.OperationalError):
                raise self._not_written(error) from error
            raise
        self.version = version

    def _not_written(self, error: sqlite3.OperationalError) -> Refused:
        log.error("%s: not written: %s", self._path, error)
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            message = f"not written: {error}: make room on the disk of {self._path}"
            return Refused(507, message, reason="InsufficientStorage")
        message = f"Internal error occurred: not written: {self._path}: {error}"
        return Refused(500, message, reason="InternalError", details={})

    def _record(self, write: Write, body: str | None, size: int) -> None:
        self.history.add(write, body=body, size=size)
        for listener in list(self._listeners):
            listener(write)

    @property
    def oldest(self) -> int:
        """The lowest version a watch can start from."""
        return self.history.oldest

    def since(self, version: int, resource: str) -> Iterator[Kept]:
        """Writes to ``resource`` after ``version``, oldest first; ``version`` must be at least ``oldest``."""
        return self.history.since(version, resource)

    def at(self, version: int, resource: str) -> dict[ObjectKey, Object]:
        """The collection as it was at ``version``, which must be at least ``oldest``."""
        return self.history.at(version, resource, self.all(resource))
