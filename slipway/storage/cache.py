"""A content-addressed cache of model folders.

``<root>/sha256-<hex>/`` holds one verified folder, ``<root>/sha256-<hex>.json`` where it came from, and
``<root>/uri-<hex>.json`` points from a URI without a registered digest to the folder last read from it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slipway.storage.checksums import SUMS_NAME


class ModelCache:
    """Folders by digest. Writers hold a lock per key; a folder appears by rename, whole."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def folder(self, digest: str) -> Path:
        return self.root / digest.replace(":", "-")

    def _origin_path(self, digest: str) -> Path:
        return self.root / f"{digest.replace(':', '-')}.json"

    def origin(self, digest: str) -> dict[str, Any] | None:
        """``{source, etags}`` of a cached folder, or None when the digest is not cached."""
        if not (self.folder(digest) / SUMS_NAME).is_file():
            return None
        origin: dict[str, Any] = json.loads(self._origin_path(digest).read_text())
        return origin

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """One process at a time fetches ``key``; released by the kernel when the holder dies."""
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        with (self.root / f"lock-{name}").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def make_incoming(self) -> Path:
        """A fresh folder to fill before ``store``."""
        incoming = self.root / f"incoming-{os.getpid()}"
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir()
        return incoming

    def store(self, incoming: Path, digest: str, *, origin: dict[str, Any]) -> Path:
        """Move a verified folder to its place, read-only, over one that may be there already."""
        for path in incoming.rglob("*"):
            if path.is_file():
                path.chmod(0o444)
        self._write(self._origin_path(digest), origin)
        folder = self.folder(digest)
        if folder.exists():  # Pods hold hard links to its files, not the folder
            old = incoming.with_name(f"{incoming.name}-old")
            folder.rename(old)
            shutil.rmtree(old)
        incoming.rename(folder)
        return folder

    def drop(self, digest: str) -> None:
        """Forget a folder whose bytes went bad."""
        shutil.rmtree(self.folder(digest), ignore_errors=True)
        self._origin_path(digest).unlink(missing_ok=True)

    def _pointer(self, uri: str) -> Path:
        return self.root / f"uri-{hashlib.sha256(uri.encode()).hexdigest()[:32]}.json"

    def point(self, uri: str, digest: str) -> None:
        self._write(self._pointer(uri), {"uri": uri, "digest": digest})

    def pointed(self, uri: str) -> str | None:
        """The digest last read from ``uri``."""
        path = self._pointer(uri)
        return str(json.loads(path.read_text())["digest"]) if path.is_file() else None

    @staticmethod
    def _write(path: Path, value: dict[str, Any]) -> None:
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(value))
        temporary.replace(path)
