"""Where checkpoints are kept: folders here, S3 in tests/e2e/test_training.py."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from model_wrappers.darknet.training import places
from model_wrappers.darknet.training.errors import PlaceError
from model_wrappers.darknet.training.places import FolderPlace, S3Place, open_place


def test_a_folder_is_made_and_holds_what_was_written(tmp_path: Path) -> None:
    place = open_place(str(tmp_path / "a" / "b"))
    assert place.read("one") is None
    place.write("one", b"1")
    place.write("one", b"22")
    assert place.read("one") == b"22"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["one"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = FolderPlace(tmp_path)
    place.write("one", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PlaceError, match="cannot be written: No space left"):
        place.write("one", b"new")
    assert place.read("one") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_what_a_killed_write_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".one.draft").write_bytes(b"half of something longer")
    FolderPlace(tmp_path).write("one", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"one": b"new"}


def test_more_than_could_be_read_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_OBJECT_BYTES", 3)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for place in (FolderPlace(tmp_path), open_place("s3://training/cells")):
        with pytest.raises(PlaceError, match="one: 4 bytes are more than the 3 that are possible"):
            place.write("one", b"1234")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    first, second = FolderPlace(tmp_path / "a"), FolderPlace(tmp_path / "a")
    with first.held():
        with pytest.raises(PlaceError, match="a: another training is at work in this folder"), second.held():
            pass
        first.write("one", b"1")
    with second.held():
        assert second.read("one") == b"1"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["one"]


def test_a_file_system_without_locks_is_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(code: int) -> None:
        def flock(descriptor: int, operation: int) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(fcntl, "flock", flock)

    refuse(errno.EBADF)
    with FolderPlace(tmp_path).held():
        pass
    refuse(errno.EIO)
    with pytest.raises(PlaceError, match="cannot be locked: Input/output error"), FolderPlace(tmp_path).held():
        pass


def test_a_file_is_no_folder_to_hold(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlaceError, match="file: is no folder that can be used"), FolderPlace(tmp_path / "file").held():
        pass


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlaceError, match="file"):
        open_place(str(tmp_path / "file")).write("one", b"")


def test_a_bucket_and_its_prefix_are_read_from_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    place = open_place("s3://training/cells/one/")
    assert isinstance(place, S3Place)
    assert (place.bucket, place.prefix, str(place)) == ("training", "cells/one", "s3://training/cells/one")


@pytest.mark.parametrize(
    "where", ["gs://bucket/x", "s3://", "s3://UPPER/x", "s3:///x", "s3://bucket/x?y=1", "http://b/x", ""]
)
def test_another_address_is_refused(where: str) -> None:
    with pytest.raises(PlaceError, match="s3://bucket/prefix, is expected"):
        open_place(where)
