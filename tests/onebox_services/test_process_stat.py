"""/proc/PID/stat: of this process, as its own calls tell it, and of names that are made to confuse."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

from slipway.onebox.supervisor.process_stat import ProcessStat, parse_stat, read_stat
from tests.waiting import wait_until

BETWEEN = " ".join(map(str, range(1, 28)))
LINE = f"4711 ({{name}}) S 12 4711 4710 0 -1 4194560 1 2 3 4 50 60 7 8 20 0 3 0 998877 {BETWEEN} 140001 140999 0\n"
FOUND = ProcessStat("S", 12, 4710, 998877, 125, (140001, 140999))


def test_stat_of_this_process_is_what_its_own_calls_say() -> None:
    found = read_stat(os.getpid())
    assert found is not None
    assert (found.parent, found.session, found.is_alive) == (os.getppid(), os.getsid(0), True)
    assert found.environment[0] < found.environment[1]
    busy = sum(os.times()[:4]) * os.sysconf("SC_CLK_TCK")
    assert found.cpu_ticks <= busy + 4, "each of the four is rounded"


def test_name_of_a_process_cannot_pass_for_a_field() -> None:
    for name in ("python", "a) Z 1 (b", ") R 1 1 1", "\ufffd\n"):
        assert parse_stat(LINE.format(name=name)) == FOUND


def test_zombie_is_there_and_does_not_live() -> None:
    assert not replace(FOUND, state="Z").is_alive
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    wait_until(lambda: (found := read_stat(process.pid)) is not None and not found.is_alive, what="its end")
    process.wait()
    assert read_stat(process.pid) is None
