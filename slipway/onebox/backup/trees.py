"""A folder of a living home → members: nothing outside of it is followed, what changes meanwhile is taken as it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from slipway.onebox.backup.entry import PERMISSIONS, Entry, Kind
from slipway.onebox.backup.names import link_stays, refusal_of_name

Wanted = Callable[[str], bool]
"""Whether a name is to be kept; of a folder, whether anything below it is."""


@dataclass(frozen=True)
class Found:
    """``place`` is where the content lies; ``left_out`` says why the entry is not kept (empty: it is)."""

    entry: Entry
    place: Path
    left_out: str = ""


def walk(place: Path, name: str, *, wanted: Wanted = lambda _: True, with_xattrs: bool = False) -> Iterator[Found]:
    """``place`` and what is below it, folders first, by name. What vanishes meanwhile was never there."""
    try:
        info = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    found = _found(place, name, info, with_xattrs=with_xattrs)
    yield found
    if found.entry.kind is not Kind.FOLDER or found.left_out:
        return
    try:
        below = sorted(os.listdir(place))  # noqa: PTH208  - names only: an entry may vanish
    except FileNotFoundError:
        return
    for part in below:
        if wanted(f"{name}/{part}"):
            yield from walk(place / part, f"{name}/{part}", wanted=wanted, with_xattrs=with_xattrs)


def _found(place: Path, name: str, info: os.stat_result, *, with_xattrs: bool) -> Found:
    mode, mtime = stat.S_IMODE(info.st_mode) & PERMISSIONS, int(info.st_mtime)
    if why := refusal_of_name(name):
        return Found(Entry(name, Kind.FILE), place, why)
    if stat.S_ISDIR(info.st_mode):
        return Found(Entry(name, Kind.FOLDER, mode=mode, mtime=mtime), place)
    if stat.S_ISLNK(info.st_mode):
        return _link(place, name, mtime)
    if not stat.S_ISREG(info.st_mode):
        return Found(Entry(name, Kind.FILE), place, "no file, folder or link")
    xattrs = _xattrs(place) if with_xattrs else {}
    return Found(Entry(name, Kind.FILE, mode=mode, mtime=mtime, size=info.st_size, xattrs=xattrs), place)


def _link(place: Path, name: str, mtime: int) -> Found:
    try:
        target = str(place.readlink())
    except OSError:  # it became something else
        return Found(Entry(name, Kind.FILE), place, "changed while it was looked at")
    entry = Entry(name, Kind.LINK, mode=PERMISSIONS, mtime=mtime, target=target)
    return Found(entry, place, "" if link_stays(name, target) else f"a link to {target}, out of its folder")


def _xattrs(place: Path) -> dict[str, bytes]:
    try:
        return {name: os.getxattr(place, name) for name in os.listxattr(place) if name.startswith("user.")}
    except FileNotFoundError:
        return {}


def open_content(found: Found) -> tuple[Entry, BinaryIO] | None:
    """The file with its size at this moment; None where it is gone, or no file any more."""
    try:
        descriptor = os.open(found.place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    stream = os.fdopen(descriptor, "rb")
    info = os.fstat(stream.fileno())
    if not stat.S_ISREG(info.st_mode):
        stream.close()
        return None
    entry = found.entry
    now = Entry(entry.name, Kind.FILE, entry.mode, int(info.st_mtime), info.st_size, xattrs=entry.xattrs)
    return now, stream


def has_changed(stream: BinaryIO, entry: Entry, began_ns: int) -> bool:
    """Whether somebody wrote to the file since it was opened, when ``began_ns`` was its time."""
    info = os.fstat(stream.fileno())
    return info.st_size != entry.size or info.st_mtime_ns != began_ns
