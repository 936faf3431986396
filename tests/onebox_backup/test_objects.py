"""S3 held still: objects that are written, overwritten and deleted meanwhile are there whole or not at all."""

from __future__ import annotations

import os
import pickle
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from slipway.onebox.backup import objects
from slipway.onebox.backup.databases import copy_sqlite
from slipway.onebox.backup.errors import NotMade
from slipway.onebox.backup.objects import hold_objects
from slipway.onebox.services.swift import DEVICE, SwiftFolders

OBJECT = "objects/3/4d7/3a8c888f12c14d69944aa871b9e9e4d7"
LISTING = "containers/5/32a/5a8a15148d76c872931be9492b6a132a/5a8a15148d76c872931be9492b6a132a.db"


@pytest.fixture
def folders(tmp_path: Path) -> SwiftFolders:
    return SwiftFolders(tmp_path / "s3")


def put(folders: SwiftFolders, name: str, content: bytes) -> Path:
    file = folders.devices / DEVICE / name
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = folders.root / "draft"
    draft.write_bytes(content)
    return draft.rename(file)  # as Swift does: a name is a whole file's


def held(tmp_path: Path) -> dict[str, bytes]:
    root = tmp_path / "held" / DEVICE
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_objects_are_linked_with_their_attributes_and_the_rest_is_left(folders: SwiftFolders, tmp_path: Path) -> None:
    data = put(folders, f"{OBJECT}/1.data", b"weights")
    os.setxattr(data, "user.swift.metadata", b"\x80\x02")
    for other in ("objects/3/hashes.invalid", "objects/3/.lock", "tmp/draft", f"{OBJECT}/.lock"):
        put(folders, other, b"x")
    hold_objects(folders, tmp_path / "held")
    assert held(tmp_path) == {f"{OBJECT}/1.data": b"weights"}
    link = tmp_path / "held" / DEVICE / OBJECT / "1.data"
    assert link.stat().st_ino == data.stat().st_ino
    data.unlink()
    assert os.getxattr(link, "user.swift.metadata") == b"\x80\x02"


def test_listing_is_copied_while_it_is_written_to_and_its_waiting_rows_come_along(
    folders: SwiftFolders, tmp_path: Path
) -> None:
    file = folders.devices / DEVICE / LISTING
    file.parent.mkdir(parents=True)
    waiting = pickle.dumps(["key"])
    file.with_name(f"{file.name}.pending").write_bytes(waiting)
    with closing(sqlite3.connect(file)) as listing:
        listing.execute("create table object (name text)")
        listing.execute("insert into object values ('kept')")
        listing.commit()
        listing.execute("insert into object values ('not yet')")  # its transaction is open
        hold_objects(folders, tmp_path / "held")
        listing.commit()
    with closing(sqlite3.connect(tmp_path / "held" / DEVICE / LISTING)) as copy:
        assert copy.execute("select name from object").fetchall() == [("kept",)]
    assert (tmp_path / "held" / DEVICE / f"{LISTING}.pending").read_bytes() == waiting


def test_row_that_swift_moves_into_the_listing_meanwhile_is_in_one_of_the_copies(
    folders: SwiftFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two copies, whichever is the first, the waiting row goes into the listing."""
    file = folders.devices / DEVICE / LISTING
    file.parent.mkdir(parents=True)
    waiting = file.with_name(f"{file.name}.pending")
    waiting.write_text("moved")
    with closing(sqlite3.connect(file)) as listing:
        listing.execute("create table object (name text)")
        listing.commit()

        def move() -> None:
            if waiting.exists() and waiting.read_text():
                listing.execute("insert into object values (?)", (waiting.read_text(),))
                listing.commit()
                waiting.write_text("")

        def then_move(copy: Callable[[Path, Path], object]) -> Callable[[Path, Path], None]:
            def copied(source: Path, target: Path) -> None:
                copy(source, target)
                move()

            return copied

        monkeypatch.setattr(objects, "copy_sqlite", then_move(copy_sqlite))
        monkeypatch.setattr(objects.shutil, "copyfile", then_move(shutil.copyfile))
        hold_objects(folders, tmp_path / "held")
    place = tmp_path / "held" / DEVICE / LISTING
    with closing(sqlite3.connect(place)) as copy:
        listed = [name for (name,) in copy.execute("select name from object")]
    assert "moved" in [*listed, place.with_name(f"{place.name}.pending").read_text()]


def test_object_that_is_overwritten_all_the_time_is_never_missing(folders: SwiftFolders, tmp_path: Path) -> None:
    """Swift puts the new file there before the old one goes."""
    old = put(folders, f"{OBJECT}/0.data", b"0")
    stop = threading.Event()

    def overwrite() -> None:
        nonlocal old
        number = 1
        while not stop.is_set():
            new = put(folders, f"{OBJECT}/{number}.data", str(number).encode())
            old.unlink()
            old, number = new, number + 1

    writer = threading.Thread(target=overwrite)
    writer.start()
    try:
        for turn in range(50):
            try:
                hold_objects(folders, tmp_path / str(turn))
            except NotMade:  # said, not silently left out
                continue
            kept = list((tmp_path / str(turn)).rglob("*.data"))
            assert kept
            assert all(path.read_bytes().decode() == path.stem for path in kept)
    finally:
        stop.set()
        writer.join()


def test_object_that_never_stands_still_is_an_error(
    folders: SwiftFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folders, f"{OBJECT}/0.data", b"0")
    monkeypatch.setattr(objects, "_object_files", lambda _: iter(["gone.data"]))
    with pytest.raises(NotMade, match="written to all the time"):
        hold_objects(folders, tmp_path / "held")


def test_deleted_object_is_kept_as_deleted(folders: SwiftFolders, tmp_path: Path) -> None:
    put(folders, f"{OBJECT}/2.ts", b"")
    hold_objects(folders, tmp_path / "held")
    assert held(tmp_path) == {f"{OBJECT}/2.ts": b""}


def test_home_without_s3_gives_nothing(folders: SwiftFolders, tmp_path: Path) -> None:
    hold_objects(folders, tmp_path / "held")
    assert not (tmp_path / "held").exists()
