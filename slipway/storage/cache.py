"""A content-addressed cache of model folders.

``<root>/sha256-<hex>/`` holds one verified folder, ``<root>/sha256-<hex>.json`` where it came from, and
``<root>/uri-<hex>.json`` points from what was asked of a server, under which key, to the folder last read there: it serves
who asks without a digest while the server is away. What a killed process left in ``<root>/incoming-<hex>/`` goes when the same thing is fetched again, or when the cache is trimmed.
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

from slipway.storage.checksums import DIGEST, SUMS_NAME

MAX_CACHE_BYTES = 20 * 1024**3
"""All folders together; beyond it those used longest ago go. Pods keep the files that they have linked."""


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
        """``{source, etags}`` of a cached folder, empty when that was lost, None when the digest is not cached."""
        if not (self.folder(digest) / SUMS_NAME).is_file():
            return None
        return self._read(self._origin_path(digest))

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """One process at a time fetches ``key``; released by the kernel when the holder dies."""
        with (self.root / f"lock-{_hashed(key)}").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _lock_if_free(self, hashed: str) -> Iterator[bool]:
        """Whether nobody held the lock; if so it is held until the block ends."""
        with (self.root / f"lock-{hashed}").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @contextlib.contextmanager
    def incoming(self, key: str) -> Iterator[Path]:
        """A fresh folder to fill before ``store``; the caller holds ``lock(key)``. What is not stored is removed."""
        folder = self.root / f"incoming-{_hashed(key)}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def store(self, incoming: Path, digest: str, *, origin: dict[str, Any]) -> Path:
        """Move a verified folder to its place, read-only, over one that may be there; the caller holds the digest's lock."""
        for path in incoming.rglob("*"):
            if path.is_file():
                path.chmod(0o444)
        self._write(self._origin_path(digest), origin)
        folder = self.folder(digest)
        if folder.exists():  # Pods hold hard links to its files, not the folder
            shutil.rmtree(folder)
        incoming.rename(folder)
        return folder

    def drop(self, digest: str) -> None:
        """Forget a folder whose bytes went bad."""
        shutil.rmtree(self.folder(digest), ignore_errors=True)
        self._origin_path(digest).unlink(missing_ok=True)

    def touch(self, digest: str) -> None:
        """Say that a cached folder is used now."""
        with contextlib.suppress(FileNotFoundError):  # a lost record only makes it the first to go
            os.utime(self._origin_path(digest))

    def trim(self, limit_bytes: int = MAX_CACHE_BYTES) -> None:
        """Drop what killed processes left, and the folders used longest ago until the rest fits; not one that is in use."""
        for incoming in self.root.glob("incoming-*"):
            with self._lock_if_free(incoming.name.removeprefix("incoming-")) as is_free:
                if is_free:
                    shutil.rmtree(incoming, ignore_errors=True)
        digests = [path.name.replace("-", ":", 1) for path in self.root.glob("sha256-*") if path.is_dir()]
        sizes = {digest: _size_bytes(self.folder(digest)) for digest in sorted(digests, key=self._used_at)}
        total_bytes = sum(sizes.values())
        for digest, size_bytes in sizes.items():
            if total_bytes <= limit_bytes:
                return
            with self._lock_if_free(_hashed(digest)) as is_free:
                if is_free:
                    self.drop(digest)
                    total_bytes -= size_bytes

    def _used_at(self, digest: str) -> float:
        try:
            return self._origin_path(digest).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _pointer(self, asked: str) -> Path:
        return self.root / f"uri-{_hashed(asked)}.json"

    def point(self, asked: str, digest: str) -> None:
        self._write(self._pointer(asked), {"asked": asked, "digest": digest})

    def pointed(self, asked: str) -> str | None:
        """The digest last given for it."""
        digest = self._read(self._pointer(asked)).get("digest")
        return digest if isinstance(digest, str) and DIGEST.fullmatch(digest) else None

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        """Empty where the file is missing or damaged: it only saves a download."""
        try:
            value = json.loads(path.read_text())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    @staticmethod
    def _write(path: Path, value: dict[str, Any]) -> None:
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(value))
        temporary.replace(path)


def _size_bytes(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except FileNotFoundError:  # another process drops it
        return 0


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
