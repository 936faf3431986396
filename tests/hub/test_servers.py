"""The end of a user's server, also of what a user hid from it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from slipway.onebox.paths import Paths
from slipway.onebox.runner.marks import MARK
from slipway.onebox.services.hub.belongings import end_all, processes_of
from slipway.onebox.services.hub.identity import FIRST, LAST
from slipway.onebox.services.hub.names import SERVICES, server_mark, service_mark
from slipway.onebox.services.hub.running import HUB_ITSELF, Running, load_running, write_running
from slipway.onebox.services.hub.servers import end_left_servers, end_server
from tests.waiting import wait_until

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
NUMBER = LAST  # the last of the last block: no hub of this machine gets so far


@contextmanager
def sleeping(*, mark: str = "", **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(("/bin/sleep", "600"), env={MARK: mark} if mark else {}, cwd="/", **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def is_over(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def test_end_of_a_server_is_the_end_of_all_with_its_mark(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    write_running(paths, Running("ada", "sha256:1"))
    write_running(paths, Running("bob", "sha256:1"))
    marks = [server_mark(paths, name) for name in ("ada", "bob")]
    with sleeping(mark=marks[0], start_new_session=True) as adas, sleeping(mark=marks[1]) as bobs:
        assert list(processes_of(paths, "ada")) == [adas.pid]
        end_server(paths, "ada")
        wait_until(lambda: is_over(adas), what="the end of ada's process")
        assert not is_over(bobs)
    assert [running.name for running in load_running(paths)] == ["bob"]


def test_what_a_killed_hub_leaves_is_ended(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    for name in ("ada", HUB_ITSELF):
        write_running(paths, Running(name, "sha256:1"))
    marks = [server_mark(paths, "ada"), *(service_mark(paths, name) for name in SERVICES)]
    with sleeping(mark=marks[0]) as one, sleeping(mark=marks[1]) as two, sleeping(mark=marks[2]) as three:
        end_left_servers(paths)
        for process in (one, two, three):
            wait_until(lambda process=process: is_over(process), what="its end")  # type: ignore[misc]
    assert load_running(paths) == []


@needs_root
def test_as_root_nothing_of_a_user_outlives_the_server(tmp_path: Path) -> None:
    """A process can take the mark out of its environment, and it can keep others from reading that."""
    paths = Paths(tmp_path)
    paths.hub.mkdir()
    paths.hub_users.write_text(json.dumps({"ada": NUMBER}))
    own: dict[str, Any] = {"user": NUMBER, "group": NUMBER, "extra_groups": (), "start_new_session": True}
    with sleeping(**own) as hidden, sleeping(mark="another") as roots:
        assert list(processes_of(paths, "ada")) == [hidden.pid]
        end_all(paths, "ada")
        wait_until(lambda: is_over(hidden), what="the end of the hidden process")
        assert not is_over(roots)


@needs_root
@pytest.mark.parametrize("number", [0, 1000, FIRST, LAST + 1])
def test_numbers_that_are_no_hub_users_are_never_ended(tmp_path: Path, number: int) -> None:
    paths = Paths(tmp_path)
    paths.hub.mkdir()
    paths.hub_users.write_text(json.dumps({"ada": number}))
    with pytest.raises(ValueError, match="no user number of the hub's"):
        end_all(paths, "ada")
