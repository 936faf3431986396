"""A Pod's state file is written when what is kept of it changes, and not for every probe."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from slipway.onebox.runner.observed import ContainerState, Trials
from slipway.onebox.runner.state import STATE_FILE, PodState, StateFile, read_state

STATE = PodState("default", "yolo", "u", ip="127.9.0.1", containers={"model": ContainerState(phase="running")})


def test_state_is_written_once_until_something_kept_changes(tmp_path: Path) -> None:
    file, path = StateFile(tmp_path / "pod"), tmp_path / "pod" / STATE_FILE
    file.write(STATE)
    first = path.stat().st_ino  # a write replaces the file
    probed = ContainerState(phase="running", trials={"readiness": Trials(successes=7)})
    file.write(replace(STATE, containers={"model": probed}))
    assert path.stat().st_ino == first
    file.write(replace(STATE, containers={"model": replace(probed, is_ready=True)}))
    assert path.stat().st_ino != first
    found = read_state(tmp_path / "pod")
    assert found is not None
    assert found.containers["model"].is_ready


def test_next_runner_writes_it_anew(tmp_path: Path) -> None:
    StateFile(tmp_path).write(STATE)
    (tmp_path / STATE_FILE).unlink()
    StateFile(tmp_path).write(STATE)
    assert read_state(tmp_path) == STATE


def test_file_of_a_release_that_kept_the_back_off_in_it_is_read(tmp_path: Path) -> None:
    StateFile(tmp_path).write(STATE)
    content = json.loads((tmp_path / STATE_FILE).read_text())
    content["containers"]["model"]["not_before"] = 1_800_000_000.0
    (tmp_path / STATE_FILE).write_text(json.dumps(content))
    found = read_state(tmp_path)
    assert found is not None
    assert found.containers["model"].phase == "running"
