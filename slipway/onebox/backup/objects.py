"""S3's objects and listings, held still: hard links to the objects, which Swift never changes, and copies of its listings.

Listings first, so that whatever is listed has its object; a listing's rows that wait beside it before the listing itself,
because Swift moves them from there into it. The order among all parts is `make.py`'s.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from slipway.onebox.backup.databases import copy_sqlite
from slipway.onebox.backup.errors import NotMade
from slipway.onebox.services.swift import DEVICE, SwiftFolders

LISTINGS = ("accounts", "containers")
OBJECT_FILES = (".data", ".meta", ".ts")
"""An object, its later metadata, its deletion. What else lies there is made again: hashes, locks, drafts."""
TRIES = 10
"""Looks at the folder of one object that somebody writes at the same time."""


def hold_objects(folders: SwiftFolders, target: Path) -> None:
    """What a backup holds of ``folders.devices``, below ``target``, which must be on the same file system. Raises NotMade."""
    source = folders.devices / DEVICE
    for kind in LISTINGS:
        for database in sorted((source / kind).glob("*/*/*/*.db")):
            place = target / DEVICE / database.relative_to(source)
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            waiting = database.with_name(f"{database.name}.pending")
            if waiting.exists():
                shutil.copyfile(waiting, place.with_name(waiting.name))
            copy_sqlite(database, place)
    for folder in sorted((source / "objects").glob("*/*/*/")):
        _hold(folder, target / DEVICE / folder.relative_to(source))


def _hold(folder: Path, place: Path) -> None:
    """Every file of one object as it was at one look: a write puts the new file there before it removes the old one."""
    for _ in range(TRIES):
        names = list(_object_files(folder))
        if not names:
            return
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            for name in names:
                os.link(folder / name, place / name)
        except FileNotFoundError:
            shutil.rmtree(place)
        else:
            return
    raise NotMade(f"{folder}: is written to all the time: try again, or stop the S3 server meanwhile (slipway down s3)")


def _object_files(folder: Path) -> Iterator[str]:
    try:
        entries = sorted(os.listdir(folder))  # noqa: PTH208  - names only: an entry may vanish
    except FileNotFoundError:
        return
    yield from (name for name in entries if name.endswith(OBJECT_FILES))
