"""Secrets that are empty or gone: S3's salt is never made anew, what replaces another is told, and the platform is stopped and
seen whatever is lost."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from slipway.cli.main import main
from slipway.onebox.backup.make import make_backup
from slipway.onebox.paths import Paths
from slipway.onebox.services import start, swift_setup
from slipway.onebox.services.lost_secrets import SecretLost, refuse_lost_salt, secret_notes
from slipway.onebox.services.secrets import ensure_secrets, write_private
from slipway.onebox.services.start import names_of
from slipway.onebox.services.swift import SwiftFolders, render_swift_conf
from slipway.onebox.services.wanted import load_wish, save_wish
from slipway.onebox.supervisor.history import PERMANENT_EXIT

LOST = "s3-hash-suffix: empty or gone, and with another one no object below"


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    made = Paths(tmp_path)
    ensure_secrets(made.secrets)
    return made


def lose(paths: Paths, name: str) -> Path:
    (paths.secrets / name).unlink()
    return paths.secrets / name


@pytest.fixture
def without_salt(paths: Paths) -> Paths:
    """A platform that ran, with objects."""
    (paths.data("s3") / "devices" / "disk" / "objects").mkdir(parents=True)
    paths.run.mkdir()
    lose(paths, "s3-hash-suffix")
    return paths


@pytest.mark.parametrize("is_empty", [True, False])
def test_salt_of_objects_that_are_there_is_not_made_anew(paths: Paths, is_empty: bool) -> None:
    first = ensure_secrets(paths.secrets)
    folders = SwiftFolders(paths.data("s3"))
    (folders.devices / "disk").mkdir(parents=True)
    file = paths.secrets / "s3-hash-suffix"
    file.write_text("") if is_empty else file.unlink()
    second = ensure_secrets(paths.secrets)  # no object yet
    assert second.s3_hash_suffix != first.s3_hash_suffix
    (folders.devices / "disk" / "objects").mkdir()
    file.write_text("") if is_empty else file.unlink()
    for _ in range(2):
        assert not ensure_secrets(paths.secrets).s3_hash_suffix
        with pytest.raises(SecretLost, match=re.escape(f"{paths.secrets}/{LOST}")):
            refuse_lost_salt(paths)
    assert not file.exists() or not file.read_text()
    write_private(folders.config / "swift.conf", render_swift_conf(second))  # where the message sends its reader
    salt = re.search("swift_hash_path_suffix = (.+)", (folders.config / "swift.conf").read_text())
    assert salt
    file.write_text(salt[1])
    refuse_lost_salt(paths)
    assert ensure_secrets(paths.secrets) == second


def test_the_platform_is_seen_and_stopped_without_the_salt(without_salt: Paths) -> None:
    seen = CliRunner().invoke(main, ["status"])
    assert (seen.exit_code, seen.output.startswith("nothing runs")) == (3, True), seen.output
    assert f"note: {without_salt.secrets}/{LOST}" in seen.output
    stopped = CliRunner().invoke(main, ["down"])
    assert (stopped.exit_code, stopped.output) == (0, "nothing was running\n")


def test_only_what_starts_s3_is_refused_without_the_salt(without_salt: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_spawn", lambda _: None)
    platform = start.prepare(without_salt, {})
    with pytest.raises(SecretLost, match=LOST):
        start.request(platform, only=["s3"])
    postgres = names_of(platform.specs, ["postgres"])
    assert start.request(platform, only=["postgres"]).names == load_wish(without_salt).names == postgres
    running = names_of(platform.specs, ["s3"])
    save_wish(without_salt, running, {})
    monkeypatch.setattr(start, "living_supervisor", lambda _: "somebody")
    monkeypatch.setattr(start, "wake", lambda _: None)
    assert start.request(platform, only=["postgres"]).names == running | postgres


def test_s3_configuration_is_not_written_without_the_salt(
    without_salt: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["swift_setup", "--home", str(without_salt.home), "config", "--ports", "1", "2", "3", "4"]
    monkeypatch.setattr("sys.argv", words)
    assert swift_setup.main() == PERMANENT_EXIT
    assert LOST in capsys.readouterr().err
    assert not (without_salt.data("s3") / "etc").exists()


def test_no_backup_is_made_whose_objects_nobody_would_find(without_salt: Paths, tmp_path: Path) -> None:
    with pytest.raises(SecretLost, match=LOST):
        make_backup(without_salt, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def use_user_key(paths: Paths) -> None:
    (paths.hub_homes / "ada").mkdir(parents=True)


def use_crypt_key(paths: Paths, state: bytes | None = b"encrypted") -> None:
    file = paths.data("hub") / "jupyterhub.sqlite"
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE users (name TEXT, encrypted_auth_state BLOB)")
        database.execute("INSERT INTO users VALUES ('ada', ?)", (state,))


@pytest.mark.parametrize(
    ("name", "use", "consequence"),
    [
        ("hub-user-key", use_user_key, "MLflow password change when the user's server starts next"),
        ("hub-crypt-key", use_crypt_key, "its users log in again"),
    ],
)
def test_a_key_of_the_hub_that_is_replaced_is_told_until_somebody_has_seen_to_it(
    paths: Paths, caplog: pytest.LogCaptureFixture, name: str, use: Callable[[Paths], None], consequence: str
) -> None:
    lose(paths, name)
    ensure_secrets(paths.secrets)  # nothing was made with it
    assert (caplog.messages, secret_notes(paths)) == ([], ())
    use(paths)
    lost = lose(paths, name)
    ensure_secrets(paths.secrets)
    ensure_secrets(paths.secrets)
    (told,) = caplog.messages
    assert told.startswith(f"{lost}: was empty or gone, and another was made: ")
    assert consequence in told
    paths.run.mkdir()
    assert f"note: {told}\n" in CliRunner().invoke(main, ["status"]).output
    Path(told.rpartition("remove ")[2]).unlink()
    assert secret_notes(paths) == ()


@pytest.mark.parametrize(("content", "is_told"), [(None, False), (b"no database", True)])
def test_log_ins_that_nobody_encrypted_are_no_reason_and_an_unreadable_database_is_one(
    paths: Paths, content: bytes | None, is_told: bool
) -> None:
    use_crypt_key(paths, None)
    if content:
        (paths.data("hub") / "jupyterhub.sqlite").write_bytes(content)
    lose(paths, "hub-crypt-key")
    ensure_secrets(paths.secrets)
    assert bool(secret_notes(paths)) == is_told
