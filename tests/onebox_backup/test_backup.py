"""A home into a file and back: what comes along, at another path and with other addresses, and what a failure leaves."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway.onebox.api.store import Store
from slipway.onebox.backup import bounds, make, writer
from slipway.onebox.backup.errors import NotMade
from slipway.onebox.backup.holes import MAX_HOLES_BYTES
from slipway.onebox.backup.make import Report, hold_still, make_backup
from slipway.onebox.backup.restore import check_backup, restore_backup
from slipway.onebox.images.store import Store as Images
from slipway.onebox.paths import Paths
from slipway.onebox.settings import load_settings
from tests.onebox_backup.conftest import restored, slipway
from tests.onebox_backup.homes import METADATA, OBJECT, OLD_NETWORK, make_home, put, tree
from tests.waiting import wait_until

MOVED = {
    "settings.json",
    "hub/users.json",
    "environments/lock/bin/python",
    "environments/lock/bin/tool",
    "environments/lock/pyvenv.cfg",
}
NOT_KEPT = (
    "kubeconfig",
    "mlflow.env",
    "run/",
    "logs/",
    "mesh/",
    "hosts",
    "model-cache/",
    "hub/running/",
    "images/.lock",
)


def test_everything_comes_back_at_another_path(home: Paths, tmp_path: Path) -> None:
    backup = tmp_path / "b.tar.gz"
    made = make_backup(home, backup)
    new = restored(backup, tmp_path / "new" / "home")
    before, after = tree(home.home), tree(new.home)
    expected = {
        name: item
        for name, item in before.items()
        if not name.startswith(NOT_KEPT) and not name.startswith("environments/half") and name != "hub/homes/ada/out"
    }
    assert {name: item for name, item in after.items() if name not in MOVED} == {
        name: item for name, item in expected.items() if name not in MOVED
    }
    assert made.left_out == {"hub/homes/ada/out": "a link to /etc, out of its folder"}
    assert made.changed == []
    assert os.getxattr(new.data("s3") / "devices" / OBJECT, "user.swift.metadata") == METADATA
    assert (new.images / "sha256" / ("ab" * 32) / "root").stat().st_mode & 0o777 == 0o555
    assert not list(tmp_path.glob("**/*.restoring"))
    assert not list(tmp_path.glob("**/*.partial"))
    assert not home.backup_scratch.exists()


def test_file_and_home_are_for_their_owner_only(home: Paths, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_backup(home, tmp_path / "b")
        restored(tmp_path / "b", tmp_path / "new")
    finally:
        os.umask(before)
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_services_ports_and_environments_fit_their_new_place(home: Paths, tmp_path: Path) -> None:
    make_backup(home, tmp_path / "b")
    new = restored(tmp_path / "b", tmp_path / "new")
    settings = load_settings(new.settings)
    assert settings.gateway_port == 9090
    assert settings.s3_object_port == 0
    assert settings.cluster_network not in ("", OLD_NETWORK)
    store = Store(new.api_database)
    one, two = (store.get("services", ("default", name)) for name in ("one", "two"))
    store.close()
    assert one is not None
    assert two is not None
    base = settings.cluster_network.partition("/")[0].rpartition(".")[0]
    assert one["spec"] == {"clusterIP": f"{base}.5", "clusterIPs": [f"{base}.5"]}
    assert one["metadata"]["uid"] == "uid-one"
    assert two["spec"]["clusterIP"] == "None"
    environment = new.environments / "lock"
    assert subprocess.run([environment / "bin" / "python3", "-c", ""], check=True).returncode == 0
    assert (environment / "bin" / "tool").read_text() == f"#!{environment}/bin/python\nprint()\n"
    python = Path(sys.executable).resolve()
    assert (environment / "pyvenv.cfg").read_text().splitlines()[0] == f"home = {python.parent}"
    assert Images(new).incomplete() == []


def test_without_environments_the_images_to_build_are_named(home: Paths, tmp_path: Path) -> None:
    make_backup(home, tmp_path / "b", with_environments=False)
    assert restore_backup(tmp_path / "b", Paths(tmp_path / "new"), report=Report()) == ["me:1"]
    assert not (tmp_path / "new" / "environments").exists()


def test_every_reference_is_good_whatever_is_written_meanwhile(
    home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each step somebody uploads a file, registers it as a version, and deploys that."""
    registered = tmp_path / "registered"
    put(registered, "")
    (home.data("postgres")).mkdir()
    put(home.data("postgres") / "PG_VERSION", "18")

    class Alive:
        is_alive = True

    monkeypatch.setattr(make, "load_states", lambda _: {"postgres": Alive()})
    monkeypatch.setattr(make, "dump_postgres", lambda _, folder: put(folder / "mlflow.dump", registered.read_text()))
    number = 0

    def deploy_another(_: str) -> None:
        nonlocal number
        number += 1
        put(home.data("s3") / "devices" / "disk" / "objects" / "1" / "abc" / str(number) / "1.data", "weights")
        put(registered, registered.read_text() + f"{number}\n")
        store = Store(home.api_database)
        store.put("seldondeployments", ("default", str(number)), {"metadata": {"name": str(number)}})
        store.close()

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    hold_still(home, scratch, say=deploy_another)
    store = Store(scratch / "api" / "objects.sqlite")
    deployed = {name for _, name in store.all("seldondeployments")}
    store.close()
    versions = set((scratch / "postgres" / "mlflow.dump").read_text().split())
    files = {path.parent.name for path in (scratch / "data" / "s3" / "devices").rglob("objects/1/abc/*/*.data")}
    assert number == 4
    assert deployed < versions < files


def test_database_that_does_not_run_is_named_with_the_next_step(home: Paths, tmp_path: Path) -> None:
    put(home.data("postgres") / "PG_VERSION", "18")
    with pytest.raises(NotMade, match=re.escape("slipway up --only postgres")):
        make_backup(home, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert not home.backup_scratch.exists()


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("there", "is there already"),
        ("old/home/b", "inside the home"),
        ("nowhere/b", "no such folder"),
        ("old", "a folder: name a file in it"),
    ],
)
def test_places_that_are_no_good_are_refused(home: Paths, tmp_path: Path, place: str, why: str) -> None:
    put(tmp_path / "there", "mine")
    with pytest.raises(NotMade, match=why):
        make_backup(home, tmp_path / place)
    assert (tmp_path / "there").read_text() == "mine"


def test_replace_takes_the_place_of_an_older_backup_only_when_whole(
    home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = put(tmp_path / "b", "older")
    with monkeypatch.context() as patch:
        patch.setattr(writer.os, "write", full_disk(after_bytes=2000))
        with pytest.raises(NotMade, match="No space left on device"):
            make_backup(home, backup, replace=True)
    assert backup.read_text() == "older"
    make_backup(home, backup, replace=True)
    assert check_backup(backup, report=Report()).members > 10


def full_disk(*, after_bytes: int) -> Callable[[int, Any], int]:
    """As a kernel does it: what fits is written, then nothing is."""
    left = after_bytes
    real = os.write

    def write(descriptor: int, data: Any) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(descriptor, memoryview(data)[:left])
        left -= written
        return written

    return write


@pytest.mark.parametrize("after_bytes", [0, 1, 1500, 4000])
def test_full_disk_leaves_nothing(
    home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_bytes: int
) -> None:
    put(home.hub_home("ada") / "noise", os.urandom(30_000).hex())
    with monkeypatch.context() as patch:
        patch.setattr(writer.os, "write", full_disk(after_bytes=after_bytes))
        with pytest.raises(NotMade, match="No space left on device"):
            make_backup(home, tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert not home.backup_scratch.exists()


def test_limit_of_the_kernel_is_one_line_and_leaves_nothing(home: Paths, tmp_path: Path) -> None:
    put(home.hub_home("ada") / "noise", os.urandom(300_000).hex())

    def at_most_200_kb() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    process = slipway("backup", str(tmp_path / "b"), home=home.home, preexec_fn=at_most_200_kb)
    _, error = process.communicate(timeout=50)
    assert process.returncode == 1
    assert error.splitlines()[-1] == f"Error: {tmp_path / 'b'}: File too large"
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_home_with_more_files_than_a_restore_takes_is_not_backed_up(
    home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_MEMBERS", 20)
    with pytest.raises(NotMade, match="more than 20 members"):
        make_backup(home, tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def make_large(home: Paths) -> list[Path]:
    """Files of 8 GiB that take no room: of each user as many holes as are kept."""
    places = [put(home.hub_home(f"user-{number}") / "large", "") for number in range(8)]
    for place in places:
        os.truncate(place, MAX_HOLES_BYTES)
    return places


def test_huge_hole_is_left_out_and_the_rest_can_be_restored(home: Paths, tmp_path: Path) -> None:
    os.truncate(put(home.hub_home("ada") / "huge"), 10 << 40)
    made = make_backup(home, tmp_path / "b")
    assert "a sparse file" in made.left_out["hub/homes/ada/huge"]
    new = restored(tmp_path / "b", tmp_path / "new")
    assert (new.hub_home("ada") / "notes" / "day.ipynb").read_text() == "{}"
    assert not (new.hub_home("ada") / "huge").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_nothing_half_made(home: Paths, tmp_path: Path, number: signal.Signals) -> None:
    make_large(home)
    process = slipway("backup", str(tmp_path / "b"), home=home.home)
    wait_until((tmp_path / "b.partial").exists, timeout_s=40, what="it writes")
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "interrupted; nothing was left half-made" in error
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert not home.backup_scratch.exists()


def test_killed_backup_is_no_backup_and_the_next_one_clears_up(home: Paths, tmp_path: Path) -> None:
    large = make_large(home)
    process = slipway("backup", str(tmp_path / "b"), home=home.home)
    wait_until((tmp_path / "b.partial").exists, timeout_s=40, what="it writes")
    process.kill()
    process.communicate(timeout=30)
    assert not (tmp_path / "b").exists()
    for place in large:
        place.unlink()
    make_backup(home, tmp_path / "c")  # names have dates
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "old"]
    assert not home.backup_scratch.exists()


def test_file_that_another_home_writes_is_left_to_it(home: Paths, tmp_path: Path) -> None:
    other = make_home(tmp_path / "other" / "home")
    refused = 0

    def try_another(_: int) -> None:
        nonlocal refused
        if (tmp_path / "b.partial").exists() and not refused:
            refused += 1
            with pytest.raises(NotMade, match=re.escape("b.partial: is there already: another home's backup")):
                make_backup(other, tmp_path / "b")

    make_backup(home, tmp_path / "b", report=Report(advance=try_another))
    assert refused == 1
    make_backup(other, tmp_path / "b", replace=True)
    assert check_backup(tmp_path / "b", report=Report()).header.home == str(other.home)


def test_half_made_file_that_cannot_be_removed_is_named(home: Paths, tmp_path: Path) -> None:
    (tmp_path / "a.partial").mkdir()
    put(home.run / make.LOCK, str(tmp_path / "a.partial"))
    with pytest.raises(NotMade, match=re.escape("a.partial: left by a killed backup, with secrets, and cannot be")):
        make_backup(home, tmp_path / "b")


def test_only_half_made_files_are_removed(home: Paths, tmp_path: Path) -> None:
    put(tmp_path / "mine")
    for noted in (str(tmp_path / "mine"), "\0" * 40):
        put(home.run / make.LOCK, noted)
        make_backup(home, tmp_path / "b", replace=True)
    assert (tmp_path / "mine").exists()


def test_two_backups_at_once_are_one(home: Paths, tmp_path: Path) -> None:
    def try_another(_: str) -> None:
        with pytest.raises(NotMade, match="another backup of it is being made"):
            make_backup(home, tmp_path / "c")

    make_backup(home, tmp_path / "b", report=Report(say=try_another))
    assert not (tmp_path / "c").exists()


def test_backup_that_is_refused_leaves_the_running_ones_file(home: Paths, tmp_path: Path) -> None:
    refused = 0

    def try_another(_: int) -> None:
        nonlocal refused
        if (tmp_path / "b.partial").exists() and not refused:
            refused += 1
            with pytest.raises(NotMade, match="another backup of it is being made"):
                make_backup(home, tmp_path / "b")

    make_backup(home, tmp_path / "b", report=Report(advance=try_another))
    assert refused == 1
    assert check_backup(tmp_path / "b", report=Report()).members > 10


def test_commands_say_what_they_did(home: Paths, tmp_path: Path) -> None:
    made = slipway("backup", str(tmp_path / "b"), home=home.home)
    out, error = made.communicate(timeout=50)
    assert made.returncode == 0, error
    assert re.fullmatch(rf"{tmp_path}/b: \d+\.\d MiB, \d+ members, \d+\.\d s; it holds this platform's secrets\n", out)
    members = re.findall(r"\d+ members", out)
    assert "warning: hub/homes/ada/out: left out: a link to /etc, out of its folder" in error
    checked = slipway("restore", "--check", str(tmp_path / "b"), home=tmp_path / "new")
    out, error = checked.communicate(timeout=50)
    assert f"whole: {members[0]}, " in out, error
    listed = subprocess.check_output(["tar", "-tzf", tmp_path / "b"]).splitlines()
    assert members == [f"{len(listed)} members"]
    assert f"of {home.home} by Slipway" in out
    assert not (tmp_path / "new").exists()
    again = slipway("restore", "--quiet", str(tmp_path / "b"), home=tmp_path / "new")
    assert again.communicate(timeout=50)[0] == ""
    assert again.returncode == 0
