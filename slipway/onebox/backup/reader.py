"""A backup's members, one after the other, each checked: what a hostile or damaged file holds ends in Damaged.

Reads nothing into memory but one chunk and the members' names; a header that no backup has is refused, not interpreted.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from slipway.onebox.backup.bounds import Tally
from slipway.onebox.backup.entry import (
    BLOCK,
    MAX_PAX_BYTES,
    Entry,
    Kind,
    NotAnEntry,
    parse_header,
    parse_number,
    parse_pax,
)
from slipway.onebox.backup.errors import Damaged, NotRestored
from slipway.onebox.backup.header import MAX_HEADER_BYTES, Header, parse_header_file
from slipway.onebox.backup.names import HEADER, MANIFEST, link_stays, refusal_of_name
from slipway.onebox.backup.writer import manifest_line

CHUNK_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 16
"""Of the manifest: a name of 4096 bytes, six characters each in JSON."""
Content = Iterator[bytes]


@dataclass
class Members:
    """What has been read so far. ``tally.folders`` and ``others`` are disjoint sets of names."""

    tally: Tally = field(default_factory=Tally)
    others: set[str] = field(default_factory=set)
    content_bytes: int = 0

    def refusal_of(self, entry: Entry) -> str:
        """Why this member may not come after the others; empty where it may."""
        if why := refusal_of_name(entry.name):
            return why
        if entry.name in self.others or (entry.kind is not Kind.FOLDER and entry.name in self.tally.folders):
            return "is there twice"
        above = entry.name
        while above := above.rpartition("/")[0]:
            if above in self.others:
                return f"lies below {above}, which is no folder"
        if entry.kind is Kind.LINK and not link_stays(entry.name, entry.target):
            return f"a link to {entry.target!r}, out of its folder"
        return self.tally.refusal()

    def add(self, entry: Entry) -> None:
        if entry.kind is not Kind.FOLDER:
            self.others.add(entry.name)
        self.tally.count(entry)
        self.content_bytes += entry.size


class ArchiveReader:
    """``header`` is read at once. ``entries`` can be walked once; at its end the whole file has been compared.

    Raises:
        Damaged: something is not what a backup wrote.
        NotRestored: a newer release made it.
    """

    def __init__(self, stream: BinaryIO, *, name: str) -> None:
        self._name = name
        self._member = ""
        self._in = io.BufferedReader(gzip.GzipFile(fileobj=stream, mode="rb"), CHUNK_BYTES)
        self._digests: dict[str, bytes] = {}
        self.members = Members()
        self.header = self._read_header()

    def entries(self) -> Iterator[tuple[Entry, Content]]:
        """Every member after the header. What is left of a content unread is read before the next."""
        while (entry := self._next()).name != MANIFEST:
            content = self._take(entry)
            yield entry, content
            for _ in content:
                pass
        self._compare(entry.size)

    def _read_header(self) -> Header:
        try:
            entry = self._first()
            if entry.name != HEADER or entry.size > MAX_HEADER_BYTES:
                raise self._not_one(f"its first member is {entry.name!r}, not {HEADER}")
            return parse_header_file(b"".join(self._take(entry)))
        except NotRestored as error:
            raise NotRestored(f"{self._name}: {error}") from error
        except ValueError as error:
            raise self._damaged(f"cannot be read: {error}") from error

    def _first(self) -> Entry:
        try:
            return self._next()
        except Damaged as error:
            raise self._not_one(error.why) from error

    def _not_one(self, why: str) -> Damaged:
        return Damaged(self._name, "", f"no backup of Slipway ({why}): a file that `slipway backup` wrote is expected")

    def _next(self) -> Entry:
        try:
            entry = self._read_entry()
        except NotAnEntry as error:
            raise self._damaged(f"after this member: {error}" if self._member else str(error)) from error
        self._member = entry.name
        if why := self.members.refusal_of(entry):
            raise self._damaged(why)
        self.members.add(entry)
        return entry

    def _read_entry(self) -> Entry:
        pax: dict[str, bytes] = {}
        block = self._exactly(BLOCK)
        if block[156:157] == b"x":
            size = parse_number(block[124:136])
            if size > MAX_PAX_BYTES:
                raise NotAnEntry(f"{size} bytes of attributes")
            pax = parse_pax(self._exactly(size))
            self._exactly(-size % BLOCK)
            block = self._exactly(BLOCK)
        if not any(block):
            raise NotAnEntry(f"the file ends without {MANIFEST}: it is not whole")
        return parse_header(block, pax)

    def _take(self, entry: Entry) -> Content:
        """The content in chunks; its SHA-256 is remembered at the end."""
        sha256 = hashlib.sha256(entry.target.encode("utf-8", "surrogateescape"))
        left = entry.size
        while left:
            chunk = self._exactly(min(left, CHUNK_BYTES))
            sha256.update(chunk)
            left -= len(chunk)
            yield chunk
        self._exactly(-entry.size % BLOCK)
        self._digests[entry.name] = hashlib.sha256(manifest_line(entry, sha256.hexdigest())).digest()

    def _compare(self, manifest_bytes: int) -> None:
        """Every line of the manifest is a member's, and every member has its line."""
        left = manifest_bytes
        while left:
            line = self._guarded(partial(self._in.readline, min(left, MAX_LINE_BYTES)))
            left -= len(line)
            if not line.endswith(b"\n"):
                self._member = MANIFEST
                raise self._damaged("a line of it is cut off")
            self._check_line(line)
        self._exactly(-manifest_bytes % BLOCK)
        if self._digests:
            self._member = next(iter(self._digests))
            raise self._damaged(f"{MANIFEST} does not name it")
        self._member = MANIFEST
        if any(self._exactly(2 * BLOCK)) or self._guarded(partial(self._in.read, 1)):  # the last read checks gzip's sum
            raise self._damaged("something follows it")

    def _check_line(self, line: bytes) -> None:
        try:
            name = json.loads(line)["name"]
            found = self._digests.pop(name)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            self._member = MANIFEST
            raise self._damaged(f"{line[:200]!r} is no member's line") from error
        if hashlib.sha256(line).digest() != found:
            self._member = name
            raise self._damaged(f"its content is not what {MANIFEST} says (SHA-256)")

    def _exactly(self, size: int) -> bytes:
        content = self._guarded(partial(self._in.read, size))
        if len(content) < size:
            raise self._damaged("the file ends here: it is cut off")
        return content

    def _guarded(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except EOFError as error:
            raise self._damaged("the file ends here: it is cut off") from error
        except (zlib.error, gzip.BadGzipFile) as error:
            raise self._damaged(f"damaged here: {error}") from error

    def _damaged(self, why: str) -> Damaged:
        return Damaged(self._name, self._member, why)


def open_archive(file: Path) -> tuple[BinaryIO, ArchiveReader]:
    """The caller closes the stream. Raises Damaged, NotRestored, OSError."""
    stream = file.open("rb")
    try:
        return stream, ArchiveReader(stream, name=str(file))
    except BaseException:
        stream.close()
        raise
