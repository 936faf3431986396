"""Small backups for tests, whole and broken."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from slipway.onebox.backup.entry import BLOCK, Entry, Kind, render_header
from slipway.onebox.backup.header import FORMAT, Header, render_header_file
from slipway.onebox.backup.names import HEADER
from slipway.onebox.backup.reader import open_archive
from slipway.onebox.backup.writer import ArchiveWriter
from slipway.onebox.home_format import HOME_FORMAT
from slipway.onebox.images.snapshot import interpreter

Member = tuple[Entry, bytes]
HEAD = Header(
    format=FORMAT,
    release="0.1.0",
    made="2026-11-21T12:00:00Z",
    home="/old/home",
    home_format=HOME_FORMAT,
    interpreter=interpreter(),
    has_environments=True,
)


def file(name: str, content: bytes = b"content", *, mode: int = 0o600) -> Member:
    return Entry(name, Kind.FILE, mode=mode, mtime=1_700_000_000, size=len(content)), content


def folder(name: str, mode: int = 0o700) -> Member:
    return Entry(name, Kind.FOLDER, mode=mode, mtime=1_700_000_000), b""


def link(name: str, target: str) -> Member:
    return Entry(name, Kind.LINK, mode=0o777, mtime=1_700_000_000, target=target), b""


def write(path: Path, members: Sequence[Member], *, header: Header = HEAD) -> Path:
    """A backup as the writer makes it, whatever is in it."""
    with path.open("wb") as stream:
        writer = ArchiveWriter(stream, scratch=path.parent)
        try:
            writer.add_bytes(HEADER, render_header_file(header))
            for entry, content in members:
                writer.add(entry, io.BytesIO(content))
            writer.close()
        finally:
            writer.discard()
    return path


def rewrite(path: Path, change: bytes, to: bytes) -> Path:
    """The tar inside changed, in a gzip that is whole."""
    plain = gzip.decompress(path.read_bytes())
    assert plain.count(change) == 1, plain.count(change)
    path.write_bytes(gzip.compress(plain.replace(change, to)))
    return path


def read(path: Path) -> list[Member]:
    """Every member, from a file that is checked to its end."""
    stream, reader = open_archive(path)
    with stream:
        return [(entry, b"".join(content)) for entry, content in reader.entries()]


def odd_header(entry: Entry, *, letter: bytes) -> bytes:
    """A header block of a type that no backup has, its checksum right."""
    block = bytearray(render_header(replace(entry, target=""))[-BLOCK:])
    block[156:157] = letter
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
