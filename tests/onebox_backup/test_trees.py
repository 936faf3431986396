"""Folders of a living home: links out, sockets and other odd things are named and left out; drafts are no part of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from slipway.onebox.backup.entry import Kind
from slipway.onebox.backup.holes import hole_bytes
from slipway.onebox.backup.parts import is_kept
from slipway.onebox.backup.trees import Found, has_changed, open_content, walk

HOME = "hub/homes/ada"


def found(place: Path, name: str = HOME) -> dict[str, Found]:
    return {item.entry.name.removeprefix(f"{name}/"): item for item in walk(place, name)}


def test_walk_names_kinds_modes_and_sizes(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir(mode=0o750)
    (tmp_path / "b" / "c").write_bytes(b"abc")
    (tmp_path / "b" / "c").chmod(0o4754)
    (tmp_path / "a").symlink_to("b/c")
    items = [item.entry for item in walk(tmp_path, HOME)]
    assert [(entry.name.removeprefix(HOME), entry.kind, entry.size, entry.target) for entry in items] == [
        ("", Kind.FOLDER, 0, ""),
        ("/a", Kind.LINK, 0, "b/c"),
        ("/b", Kind.FOLDER, 0, ""),
        ("/b/c", Kind.FILE, 3, ""),
    ]
    assert [entry.mode for entry in items[2:]] == [0o750, 0o754]


def test_links_out_and_odd_things_are_left_out_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/etc/passwd")
    (tmp_path / "up").symlink_to("../grace")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "s"))
    items = found(tmp_path)
    assert {name: item.left_out for name, item in items.items() if item.left_out} == {
        "out": "a link to /etc/passwd, out of its folder",
        "up": "a link to ../grace, out of its folder",
        "pipe": "no file, folder or link",
        "s": "no file, folder or link",
    }


def test_link_in_place_of_the_whole_folder_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "ada").symlink_to(tmp_path)
    (item,) = walk(tmp_path / "ada", HOME)
    assert item.left_out


def test_what_is_not_there_gives_nothing(tmp_path: Path) -> None:
    assert list(walk(tmp_path / "x", HOME)) == []
    (tmp_path / "f").touch()
    assert list(walk(tmp_path / "f" / "x", HOME)) == []


def test_file_that_became_a_link_or_vanished_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    opened = []
    for item in walk(tmp_path, HOME):
        if item.entry.kind is Kind.FILE:
            (tmp_path / item.part).unlink()
            (tmp_path / "b").unlink(missing_ok=True)
            (tmp_path / "b").symlink_to("/etc/passwd")
            opened.append((item.part, open_content(item)))
    assert opened == [("a", None)]
    (item,) = [item for item in walk(tmp_path, HOME) if item.part == "b"]
    assert item.left_out


def test_link_that_takes_a_folders_place_leads_nobody_out(tmp_path: Path) -> None:
    """Whenever it happens: before the folder is opened, or between two of its files."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a").write_text("secret")
    (tmp_path / "secret" / "b").write_text("secret")
    for moment in (f"{HOME}/folder", f"{HOME}/folder/a"):
        home = tmp_path / moment.rpartition("/")[2]
        (home / "folder").mkdir(parents=True)
        (home / "folder" / "a").write_text("own")
        (home / "folder" / "b").write_text("own")
        read = {}
        for item in walk(home, HOME):
            if item.entry.name == moment:
                (home / "folder").rename(home / "moved")
                (home / "folder").symlink_to(tmp_path / "secret")
            if item.entry.kind is Kind.FILE and (opened := open_content(item)):
                with opened[1] as stream:
                    read[item.entry.name] = stream.read()
        assert set(read.values()) <= {b"own"}


def test_folders_deeper_than_anybody_needs_are_left_out(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(600):  # deeper than a path may be long
        os.mkdir("ddd", dir_fd=descriptor)
        inner = os.open("ddd", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    items = list(walk(tmp_path, HOME))
    assert items[-1].left_out == "more than 256 folders deep"
    assert len(items) < 260


def test_size_is_that_of_the_moment_of_opening_and_later_writes_are_seen(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    for item in walk(tmp_path, HOME):
        if item.entry.kind is not Kind.FILE:
            continue
        (tmp_path / "a").write_bytes(b"longer")
        opened = open_content(item)
        assert opened is not None
        entry, stream = opened
        with stream:
            began_ns = os.fstat(stream.fileno()).st_mtime_ns
            assert entry.size == 6
            assert not has_changed(stream, entry, began_ns)
            with (tmp_path / "a").open("ab") as more:
                more.write(b"!")
            assert has_changed(stream, entry, began_ns)


def test_xattrs_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x.data").touch()
    os.setxattr(tmp_path / "x.data", "user.swift.metadata", b"\x80\x02}")
    name = "data/s3/devices"
    (item,) = [item for item in walk(tmp_path, name, with_xattrs=True) if item.entry.kind is Kind.FILE]
    assert item.entry.xattrs == {"user.swift.metadata": b"\x80\x02}"}
    assert all(not item.entry.xattrs for item in walk(tmp_path, name))


def sparse(place: Path, size: int, *, data: bytes = b"", at: int = 0) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as stream:
        stream.truncate(size)
        os.pwrite(stream.fileno(), data, at)
    return place


def test_holes_are_counted_and_data_is_not(tmp_path: Path) -> None:
    place = sparse(tmp_path / "a", 64 << 20, data=b"x" * (1 << 20), at=8 << 20)
    (tmp_path / "b").write_bytes(b"x" * 100_000)
    for file, expected in ((place, 63 << 20), (tmp_path / "b", 0)):
        with file.open("rb") as stream:
            assert hole_bytes(stream.fileno(), os.fstat(stream.fileno())) == expected
            assert len(stream.read(5)) == 5


def test_file_that_is_a_huge_hole_is_left_out_with_the_reason(tmp_path: Path) -> None:
    sparse(tmp_path / "big", 10 << 40, data=b"x", at=5 << 40)
    (tmp_path / "small").write_text("kept")
    items = found(tmp_path)
    assert items["big"].left_out == f"a sparse file: more than 1024 MiB of holes in the files of {HOME}"
    assert not items["small"].left_out


def test_holes_are_bounded_for_each_owner_not_for_each_file(tmp_path: Path) -> None:
    names = [f"{user}/{number}" for user in ("ada", "grace") for number in range(4)]
    for name in names:
        sparse(tmp_path / name, 300 << 20)
    left_out = [item.entry.name for item in walk(tmp_path, "hub/homes") if item.left_out]
    assert left_out == ["hub/homes/ada/3", "hub/homes/grace/3"]


def test_file_that_becomes_a_huge_hole_before_it_is_opened_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    for item in walk(tmp_path, HOME):
        if item.entry.kind is Kind.FILE:
            sparse(tmp_path / "a", 10 << 40)
            assert open_content(item) is None


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("environments/abc", True),
        ("environments/abc/bin/x.lock", True),
        ("environments/abc.lock", False),
        ("environments/abc.tmp", False),
        ("images/sha256/abc.tmp", False),
        ("images/tags/slipway%2Fx/0.1.0", True),
        ("images/tags/slipway%2Fx/.0.1.0.77", False),
        ("secrets/.api-token.77", False),
        ("hub/homes/.ada", False),
        ("hub/homes/ada/.bashrc", True),
        ("hub/proxy/abc.tmp", False),
    ],
)
def test_drafts_and_locks_are_no_part(name: str, kept: bool) -> None:
    assert is_kept(name) is kept
