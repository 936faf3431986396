"""A file becomes a home: which homes and files are refused, what damage and a death leave."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from slipway.onebox.backup import restore
from slipway.onebox.backup.errors import Damaged, NotRestored
from slipway.onebox.backup.make import Report, make_backup
from slipway.onebox.backup.restore import restore_backup
from slipway.onebox.home_format import HOME_FORMAT, FormatError, read_format
from slipway.onebox.paths import Paths
from slipway.onebox.services.folders import HomeError
from slipway.onebox.supervisor.procfs import identify
from tests.onebox_backup.archives import HEAD, file, rewrite, write
from tests.onebox_backup.conftest import restored, slipway
from tests.onebox_backup.homes import put, tree
from tests.waiting import wait_until


def test_home_that_is_not_empty_is_left_as_it_is(home: Paths, tmp_path: Path) -> None:
    make_backup(home, tmp_path / "b")
    before = tree(home.home)
    with pytest.raises(NotRestored, match="a restore overwrites nothing"):
        restore_backup(tmp_path / "b", home, report=Report())
    assert tree(home.home) == before


def test_empty_folder_becomes_the_home(home: Paths, tmp_path: Path) -> None:
    make_backup(home, tmp_path / "b")
    (tmp_path / "new").mkdir()
    assert restored(tmp_path / "b", tmp_path / "new").settings.exists()


def test_file_or_link_in_place_of_the_home_is_refused(home: Paths, tmp_path: Path) -> None:
    make_backup(home, tmp_path / "b")
    put(tmp_path / "file")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for place in ("file", "link"):
        with pytest.raises(NotRestored, match="no folder"):
            restore_backup(tmp_path / "b", Paths(tmp_path / place), report=Report())


def test_damaged_backup_touches_nothing(home: Paths, tmp_path: Path) -> None:
    put(home.hub_home("ada") / "diary.txt", "dear diary")
    make_backup(home, tmp_path / "b")
    rewrite(tmp_path / "b", b"dear diary", b"dear diarx")
    with pytest.raises(Damaged, match=re.escape("hub/homes/ada/diary.txt: its content is not what")):
        restore_backup(tmp_path / "b", Paths(tmp_path / "x" / "new"), report=Report())
    assert not (tmp_path / "x" / "new").exists()
    assert not list((tmp_path / "x").iterdir())


def test_backup_larger_than_the_disk_is_refused_before_it_is_unpacked(
    home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (home.hub_home("ada") / "bomb").open("wb") as sparse:
        sparse.truncate(300 << 20)
    made = make_backup(home, tmp_path / "b")
    assert made.file_bytes < 3 << 20
    usage = restore.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(restore.shutil, "disk_usage", lambda _: usage._replace(free=restore.SPARE_BYTES + (200 << 20)))
    with pytest.raises(NotRestored, match="more than the 200 MiB that are free"):
        restore_backup(tmp_path / "b", Paths(tmp_path / "new"), report=Report())
    assert not (tmp_path / "new").exists()


def test_other_pythons_environments_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "b", [file("secrets/x")], header=replace(HEAD, interpreter="cpython-399-linux-x86_64"))
    with pytest.raises(NotRestored, match="its Python environments are for cpython-399-linux-x86_64"):
        restore_backup(tmp_path / "b", Paths(tmp_path / "new"), report=Report())
    assert not (tmp_path / "new").exists()


def test_home_of_a_newer_release_is_refused_by_both(home: Paths, tmp_path: Path) -> None:
    write(tmp_path / "b", [file("secrets/x")], header=replace(HEAD, home_format=HOME_FORMAT + 1, release="9.9.9"))
    with pytest.raises(NotRestored, match=re.escape("made by Slipway 9.9.9: its format is")):
        restore_backup(tmp_path / "b", Paths(tmp_path / "new"), report=Report())
    put(home.home_format, "{}")
    with pytest.raises(FormatError):
        make_backup(home, tmp_path / "c")


def test_home_of_before_numbers_is_restored_and_numbered(home: Paths, tmp_path: Path) -> None:
    home.home_format.unlink()
    make_backup(home, tmp_path / "b")
    assert read_format(restored(tmp_path / "b", tmp_path / "new").home_format)[0] == HOME_FORMAT


def test_home_whose_name_programs_cannot_read_is_refused(home: Paths, tmp_path: Path) -> None:
    make_backup(home, tmp_path / "b")
    with pytest.raises(HomeError, match="may not contain"):
        restore_backup(tmp_path / "b", Paths(tmp_path / "a:b"), report=Report())


def test_killed_restore_leaves_no_home_and_the_next_one_succeeds(home: Paths, tmp_path: Path) -> None:
    with (home.hub_home("ada") / "large").open("wb") as sparse:
        sparse.truncate(128 << 20)
    make_backup(home, tmp_path / "b")
    process = slipway("restore", str(tmp_path / "b"), home=tmp_path / "new")
    wait_until((tmp_path / ".new.restoring" / "secrets").exists, timeout_s=50, what="it unpacks")
    process.kill()
    process.communicate(timeout=30)
    assert not (tmp_path / "new").exists()
    assert restored(tmp_path / "b", tmp_path / "new").settings.exists()
    assert not (tmp_path / ".new.restoring").exists()


def test_home_that_came_meanwhile_is_left_as_it_is(home: Paths, tmp_path: Path) -> None:
    make_backup(home, tmp_path / "b")
    new = tmp_path / "new"

    def say(step: str) -> None:
        if step == "unpacking":
            put(new / "mine")

    with pytest.raises(NotRestored, match="a restore overwrites nothing"):
        restore_backup(tmp_path / "b", Paths(new), report=Report(say=say))
    assert tree(new) == {"mine": ("x", 0o600)}
    assert not (tmp_path / ".new.restoring").exists()


def test_everything_is_on_disk_before_it_is_the_home(
    home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_backup(home, tmp_path / "b")
    synced: list[tuple[str, bool]] = []
    new, draft = tmp_path / "new", tmp_path / ".new.restoring"
    monkeypatch.setattr(restore.os, "sync", lambda: synced.append(("all", draft.exists() and not new.exists())))
    monkeypatch.setattr(restore, "sync_folder", lambda folder: synced.append((folder.name, new.exists())))
    restored(tmp_path / "b", new)
    assert synced == [("all", True), (tmp_path.name, True)]


KILLED = """
import os, signal, sys
from pathlib import Path
from slipway.onebox.backup.databases import _server
from slipway.onebox.paths import Paths
from slipway.onebox.services.postgres_setup import ensure_cluster
paths = Paths(Path(sys.argv[1]))
paths.sockets.mkdir(mode=0o700)
ensure_cluster(paths.data("postgres"))
with _server(paths):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_database_server_of_a_killed_restore_is_ended_by_the_next(home: Paths, tmp_path: Path) -> None:
    make_backup(home, tmp_path / "b")
    draft = Paths(tmp_path / ".new.restoring")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(draft.home)], stdout=subprocess.DEVNULL, check=False)
    assert killed.returncode == -signal.SIGKILL
    server = identify(int((draft.data("postgres") / "postmaster.pid").read_text().split()[0]))
    assert server is not None
    restored(tmp_path / "b", tmp_path / "new")
    assert not server.is_alive
    assert not draft.sockets.exists()
