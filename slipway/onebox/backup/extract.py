"""Members → files below one folder. Links come last and are never written through, folders' modes after what is in them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from slipway.onebox.backup.entry import Entry, Kind
from slipway.onebox.backup.reader import ArchiveReader, Content

DRAFT_MODE = 0o700
WITH_XATTRS = "data/s3/devices/"


def extract(reader: ArchiveReader, root: Path, *, advance: Callable[[int], None]) -> None:
    """``root`` is an empty folder of ours. A member that is damaged leaves what came before it: the caller removes it.

    Raises:
        Damaged: as the reader.
        OSError: the disk is full, for example.
    """
    folders: dict[str, int] = {}
    links: list[Entry] = []
    for entry, content in reader.entries():
        place = root / entry.name
        if entry.kind is Kind.LINK:
            links.append(entry)
        elif entry.kind is Kind.FOLDER:
            place.mkdir(mode=DRAFT_MODE, parents=True, exist_ok=True)
            folders[entry.name] = entry.mode
        else:
            place.parent.mkdir(mode=DRAFT_MODE, parents=True, exist_ok=True)
            _write(place, entry, content, advance)
    for entry in links:
        (root / entry.name).parent.mkdir(mode=DRAFT_MODE, parents=True, exist_ok=True)
        (root / entry.name).symlink_to(entry.target)
    for name in sorted(folders, reverse=True):
        (root / name).chmod(folders[name])


def _write(place: Path, entry: Entry, content: Content, advance: Callable[[int], None]) -> None:
    with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as stream:
        for chunk in content:
            stream.write(chunk)
            advance(len(chunk))
        if entry.name.startswith(WITH_XATTRS):
            for name, value in entry.xattrs.items():
                os.setxattr(stream.fileno(), name, value)
        os.fchmod(stream.fileno(), entry.mode)
    os.utime(place, (entry.mtime, entry.mtime))
