"""Files of SLIPWAY_HOME/run that a power cut, or somebody, left in any form: none ends a command that only reads them."""

from __future__ import annotations

import errno
import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from slipway.onebox.paths import Paths
from slipway.onebox.services import secrets
from slipway.onebox.services.secrets import write_private
from slipway.onebox.services.status import observe
from slipway.onebox.services.wanted import Answer, load_answer, load_wish, save_answer, save_wish
from slipway.onebox.supervisor import control
from slipway.onebox.supervisor.control import LOCK, living_supervisor, sole_supervisor, stop_without_supervisor
from slipway.onebox.supervisor.errors import SupervisorError
from slipway.onebox.supervisor.history import Phase
from slipway.onebox.supervisor.procfs import identify
from slipway.onebox.supervisor.state import ProcessState, load_states, tell_unreadable, write_state

STATE = ProcessState(
    name="postgres",
    part="postgres",
    order=0,
    phase=Phase.READY,
    identity=identify(os.getpid()),
    fingerprint="f",
    grace_s=1.0,
    stop_signal=15,
    ports=("127.0.0.1:1",),
    log="postgres.log",
    is_task=False,
    since=1.0,
    ready_after_s=0.1,
    restarts=0,
    problem="",
)
CONTENTS = ["", '{"name": "post', "[]", "7", "{}", '{"identity": 7}', "null"]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    tell_unreadable.cache_clear()
    made = Paths(tmp_path)
    made.run.mkdir()
    return made


@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_that_cannot_be_read_is_told_once_and_counts_as_none(
    paths: Paths, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_state(paths.run, replace(STATE, name="api"))
    names = ("postgres.json", "wanted", "answer", LOCK)
    for name in names:
        (paths.run / name).write_text(content)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert list(load_states(paths.run)) == ["api"]
            assert load_wish(paths).names == {"api"}  # what runs
            assert load_answer(paths) is None
            assert living_supervisor(paths.run) is None
    for name in names:
        told = sum(str(paths.run / name) in line for line in caplog.messages)
        assert told == (0 if name == LOCK and not content else 1), name


def test_status_and_down_work_with_empty_files(paths: Paths) -> None:
    for name in ("postgres.json", "wanted", "answer", LOCK):
        (paths.run / name).touch()
    assert observe(paths).processes == ()
    stop_without_supervisor(paths.run, names=["postgres"], on_stopped=lambda *_: pytest.fail("nothing ran"))


def test_a_folder_in_the_place_of_a_state_is_none(paths: Paths) -> None:
    (paths.run / "postgres.json").mkdir()
    assert load_states(paths.run) == {}


def test_a_field_of_another_release_is_left_out(paths: Paths) -> None:
    write_state(paths.run, STATE)
    file = paths.run / "postgres.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"colour": "green"}))
    assert load_states(paths.run) == {"postgres": STATE}


def test_a_wish_that_was_lost_does_not_bring_an_old_answer_back(paths: Paths) -> None:
    save_answer(paths, Answer(7, {"api": "of then"}))
    (paths.run / "wanted").touch()
    assert save_wish(paths, ["api"], {}).number == 8


def test_the_lock_says_that_the_disk_is_full(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(control.json, "dumps", full)  # what is written next
    with (
        pytest.raises(SupervisorError, match=f"{LOCK}: cannot be written: No space left on device: make room"),
        sole_supervisor(paths.run),
    ):
        pytest.fail("it holds a lock that nobody can read")


def test_a_private_file_is_on_disk_before_it_has_its_name(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    file, synced = paths.home / "key", []

    def fsync(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, file.exists()))

    monkeypatch.setattr(secrets.os, "fsync", fsync)
    write_private(file, "secret")
    assert synced == [(f".key.{os.getpid()}", False), (paths.home.name, True)]
