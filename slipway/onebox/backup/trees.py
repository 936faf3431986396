"""A folder of a living home → members: nothing outside of it is followed, what changes meanwhile is taken as it is.

Every step is relative to an open folder: whoever puts a link in place of a folder while it is copied (a hub user may, while
root copies) leads nobody out.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from slipway.onebox.backup.entry import PERMISSIONS, USER_XATTR, Entry, Kind
from slipway.onebox.backup.holes import MAX_HOLES_BYTES, hole_bytes, is_sparse
from slipway.onebox.backup.names import area_of, link_stays, refusal_of_name

MEBIBYTE = 1 << 20
Wanted = Callable[[str], bool]
"""Whether a name is to be kept; of a folder, whether anything below it is."""
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe must not make us wait


@dataclass(frozen=True)
class Found:
    """``part`` of the open ``folder`` (a descriptor, until the next one is asked for). ``left_out`` says why it is not kept."""

    entry: Entry
    folder: int
    part: str
    left_out: str = ""
    hole_bytes: int = 0


def walk(place: Path, name: str, *, wanted: Wanted = lambda _: True, with_xattrs: bool = False) -> Iterator[Found]:
    """``place`` and what is below it, folders first, by name. What vanishes meanwhile was never there."""
    try:
        folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    holes: Counter[str] = Counter()
    try:
        for found in _walk(folder, place.name, name, wanted, with_xattrs=with_xattrs):
            yield _with_few_holes(found, holes)
    finally:
        os.close(folder)


def _walk(folder: int, part: str, name: str, wanted: Wanted, *, with_xattrs: bool) -> Iterator[Found]:
    try:
        info = os.stat(part, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    found = _found(folder, part, name, info, with_xattrs=with_xattrs)
    yield found
    if found.entry.kind is not Kind.FOLDER or found.left_out:
        return
    try:
        inner = os.open(part, OPEN_FOLDER, dir_fd=folder)
    except OSError:  # it became something else, or nothing
        return
    try:
        for below in sorted(os.listdir(inner)):  # noqa: PTH208  - of a descriptor
            if wanted(f"{name}/{below}"):
                yield from _walk(inner, below, f"{name}/{below}", wanted, with_xattrs=with_xattrs)
    finally:
        os.close(inner)


def _with_few_holes(found: Found, holes: Counter[str]) -> Found:
    """Left out where its owner's files, with ``holes`` so far (bytes), would have more than are kept."""
    owner = area_of(found.entry.name) or found.entry.name
    if holes[owner] + found.hole_bytes > MAX_HOLES_BYTES:
        why = f"a sparse file: more than {MAX_HOLES_BYTES // MEBIBYTE} MiB of holes in the files of {owner}"
        return replace(found, left_out=why, hole_bytes=0)
    holes[owner] += found.hole_bytes
    return found


def _found(folder: int, part: str, name: str, info: os.stat_result, *, with_xattrs: bool) -> Found:
    mode, mtime = stat.S_IMODE(info.st_mode) & PERMISSIONS, int(info.st_mtime)
    if why := refusal_of_name(name):
        return Found(Entry(name, Kind.FILE), folder, part, why)
    if stat.S_ISDIR(info.st_mode):
        return Found(Entry(name, Kind.FOLDER, mode=mode, mtime=mtime), folder, part)
    if stat.S_ISLNK(info.st_mode):
        return _link(folder, part, name, mtime)
    if not stat.S_ISREG(info.st_mode):
        return Found(Entry(name, Kind.FILE), folder, part, "no file, folder or link")
    xattrs = _xattrs(folder, part) if with_xattrs else {}
    entry = Entry(name, Kind.FILE, mode=mode, mtime=mtime, size=info.st_size, xattrs=xattrs)
    return Found(entry, folder, part, hole_bytes=_holes(folder, part) if is_sparse(info) else 0)


def _link(folder: int, part: str, name: str, mtime: int) -> Found:
    try:
        target = os.readlink(part, dir_fd=folder)
    except OSError:  # it became something else
        return Found(Entry(name, Kind.FILE), folder, part, "changed while it was looked at")
    entry = Entry(name, Kind.LINK, mode=PERMISSIONS, mtime=mtime, target=target)
    return Found(entry, folder, part, "" if link_stays(name, target) else f"a link to {target}, out of its folder")


def _xattrs(folder: int, part: str) -> dict[str, bytes]:
    try:
        descriptor = os.open(part, OPEN_FILE, dir_fd=folder)
    except FileNotFoundError:
        return {}
    try:
        names = [name for name in os.listxattr(descriptor) if name.startswith(USER_XATTR)]
        return {name: os.getxattr(descriptor, name) for name in names}
    finally:
        os.close(descriptor)


def _holes(folder: int, part: str) -> int:
    try:
        descriptor = os.open(part, OPEN_FILE, dir_fd=folder)
    except OSError:  # gone, or closed to us: `open_content` finds that too
        return 0
    try:
        info = os.fstat(descriptor)
        return hole_bytes(descriptor, info) if stat.S_ISREG(info.st_mode) else 0
    finally:
        os.close(descriptor)


def open_content(found: Found) -> tuple[Entry, BinaryIO] | None:
    """The file with its size at this moment; None where it is gone, no file any more, or by now mostly a hole."""
    try:
        descriptor = os.open(found.part, OPEN_FILE, dir_fd=found.folder)
    except OSError:
        return None
    stream = os.fdopen(descriptor, "rb")
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode) or hole_bytes(descriptor, info) > MAX_HOLES_BYTES:
        stream.close()
        return None
    entry = found.entry
    now = Entry(entry.name, Kind.FILE, entry.mode, int(info.st_mtime), info.st_size, xattrs=entry.xattrs)
    return now, stream


def has_changed(stream: BinaryIO, entry: Entry, began_ns: int) -> bool:
    """Whether somebody wrote to the file since it was opened, when ``began_ns`` was its time."""
    info = os.fstat(stream.fileno())
    return info.st_size != entry.size or info.st_mtime_ns != began_ns
