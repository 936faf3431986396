"""Memory of a server: which process is ended, and that it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slipway.onebox.paths import Paths
from slipway.onebox.runner.marks import MARK
from slipway.onebox.services.hub import watch
from slipway.onebox.services.hub.names import server_mark
from slipway.onebox.services.hub.running import Running
from slipway.onebox.services.hub.watch import Usage, choose
from slipway.onebox.supervisor.procfs import Identity
from tests.waiting import wait_until

MIB = 1 << 20
HOLD = "import sys, time; held = bytearray(int(sys.argv[1])); held[::4096] = b'1' * len(held[::4096]); print('held', flush=True); time.sleep(600)"


def usage(pid: int, mib: int) -> Usage:
    return Usage(Identity(pid, start_ticks=pid, boot="b"), mib * MIB)


LAB, SMALL, LARGE = usage(10, 100), usage(11, 50), usage(12, 300)


@pytest.mark.parametrize(
    ("usages", "allowed_mib", "ended"),
    [
        ([], 100, None),
        ([LAB, SMALL, LARGE], 450, None),
        ([LAB, SMALL, LARGE], 449, LARGE),
        ([LARGE, SMALL, LAB], 449, LARGE),
        ([LAB, SMALL, LARGE], 0, None),  # no limit
        ([LAB, SMALL], 120, SMALL),  # JupyterLab is larger, and lives
        ([LAB, SMALL], 99, LAB),  # it is too large itself
        ([LAB, usage(13, 0)], 99, LAB),  # to end what has nothing helps nobody
    ],
)
def test_choose_ends_the_largest_that_is_not_jupyterlab(
    usages: list[Usage], allowed_mib: int, ended: Usage | None
) -> None:
    assert choose(usages, allowed_bytes=allowed_mib * MIB) == ended


@contextmanager
def holding(mib: int, mark: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has so much memory."""
    process = subprocess.Popen(
        (sys.executable, "-c", HOLD, str(mib * MIB)), env={**os.environ, MARK: mark}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_look_ends_what_is_too_large_and_says_so(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    mark = server_mark(paths, "ada")
    with holding(1, mark) as lab, holding(5, mark) as small, holding(120, mark) as large, holding(150, "x") as foreign:
        assert watch.look(paths, Running("ada", "sha256:1", memory_bytes=0)) == ""
        assert watch.look(paths, Running("ada", "sha256:1", memory_bytes=1 << 30)) == ""
        said = watch.look(paths, Running("ada", "sha256:1", memory_bytes=100 * MIB))
        assert said.startswith("ada: the server uses 0.1")
        assert f"ended its process {large.pid}," in said
        assert wait_until(lambda: large.poll() is not None, what="the end of the large process")
        assert watch.look(paths, Running("ada", "sha256:1", memory_bytes=100 * MIB)) == ""
        assert [process.poll() for process in (lab, small, foreign)] == [None, None, None]
