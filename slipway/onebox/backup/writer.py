"""Members → one gzipped tar with a manifest of their SHA-256 at its end. Nothing is held in memory but one chunk."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from slipway.onebox.backup.bounds import Tally
from slipway.onebox.backup.entry import BLOCK, Entry, Kind, NotAnEntry, render_header
from slipway.onebox.backup.errors import NotMade
from slipway.onebox.backup.names import MANIFEST

CHUNK_BYTES = 1 << 20
LEVEL = 1
"""A third of level 6's time, for a tenth more bytes: most of it is programs and weights."""
MANIFEST_IN_MEMORY_BYTES = 1 << 22
Progress = Callable[[int], None]


class Sink(Protocol):
    """Takes all of what it is given, or raises."""

    def write(self, data: Any, /) -> int: ...


class WholeFile:
    """A new file of its owner's only. Nothing waits in a buffer: what could not be written is known at once."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, data: Any, /) -> int:
        left = memoryview(data).cast("B")
        while left:
            left = left[os.write(self._descriptor, left) :]
        return len(data)

    def close(self, *, durable: bool) -> None:
        try:
            if durable:
                os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)


class ArchiveWriter:
    """``add`` in the order in which a reader shall meet them; ``close`` writes the manifest.

    Raises:
        NotMade: more members than a reader takes, with the first that is too many; attributes larger than it takes.
    """

    def __init__(self, stream: Sink, *, scratch: Path, progress: Progress = lambda _: None) -> None:
        sink: Any = stream  # of a file that GzipFile writes, it calls nothing else
        self._gzip = gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=sink, mtime=0)
        self._manifest = tempfile.SpooledTemporaryFile(MANIFEST_IN_MEMORY_BYTES, dir=str(scratch))  # noqa: SIM115  - closed with this
        self._progress = progress
        self._tally = Tally()
        self.content_bytes = 0

    @property
    def members(self) -> int:
        return self._tally.members

    def add(self, entry: Entry, content: BinaryIO | None = None) -> bool:
        """False where ``content`` was shorter than ``entry.size``: it is filled up with zeros, as tar does."""
        sha256 = hashlib.sha256(entry.target.encode("utf-8", "surrogateescape"))
        self._begin(entry)
        is_whole = True
        for chunk, is_real in _chunks(content, entry.size):
            is_whole &= is_real
            sha256.update(chunk)
            self._gzip.write(chunk)
            self._progress(len(chunk))
        self._gzip.write(bytes(-entry.size % BLOCK))
        self._manifest.write(manifest_line(entry, sha256.hexdigest()))
        self.content_bytes += entry.size
        return is_whole

    def add_bytes(self, name: str, content: bytes) -> None:
        self.add(Entry(name, Kind.FILE, size=len(content)), io.BytesIO(content))

    def close(self) -> None:
        """The manifest, and tar's end."""
        size = self._manifest.tell()
        self._manifest.seek(0)
        self._begin(Entry(MANIFEST, Kind.FILE, size=size))
        while chunk := self._manifest.read(CHUNK_BYTES):
            self._gzip.write(chunk)
        self._gzip.write(bytes(-size % BLOCK + 2 * BLOCK))
        self._gzip.close()
        self._manifest.close()

    def _begin(self, entry: Entry) -> None:
        if why := self._tally.refusal():
            raise NotMade(f"{entry.name}: {why}, and no restore takes that: let the platform keep fewer files")
        self._tally.count(entry)
        try:
            header = render_header(entry)
        except NotAnEntry as error:
            raise NotMade(str(error)) from error
        self._gzip.write(header)

    def discard(self) -> None:
        """After a failure: nothing more is written, not even what gzip holds back (the disk may be full)."""
        self._gzip.fileobj = None  # type: ignore[assignment]  # so that closing it, whoever does, writes nothing
        self._manifest.close()


def manifest_line(entry: Entry, sha256: str) -> bytes:
    """Of a link the SHA-256 is its target's, of a folder that of nothing."""
    fields = {"name": entry.name, "kind": entry.kind.name.lower(), "bytes": entry.size, "sha256": sha256}
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _chunks(content: BinaryIO | None, size: int) -> Iterator[tuple[bytes, bool]]:
    left = size
    while left:
        chunk = content.read(min(left, CHUNK_BYTES)) if content else b""
        yield (chunk or bytes(min(left, CHUNK_BYTES))), bool(chunk)
        left -= len(chunk) or min(left, CHUNK_BYTES)
