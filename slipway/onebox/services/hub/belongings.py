"""The processes of one hub user: as root all of the user's number, else all that carry the server's mark."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.runner.marks import has_mark, kill_marked
from slipway.onebox.services.hub.identity import FIRST, LAST, load_numbers
from slipway.onebox.services.hub.names import server_mark
from slipway.onebox.supervisor.procfs import pids

KILL_ALL = "import os, signal\ntry:\n    os.kill(-1, signal.SIGKILL)\nexcept ProcessLookupError:\n    pass\n"
KILL_WITHIN_S = 10.0


def end_all(paths: Paths, user: str) -> None:
    """Kill every process of the user's. As root also those that took the mark out of their environment."""
    kill_marked(server_mark(paths, user))
    if (number := _number(paths, user)) is not None:
        _kill_everything_of(number)


def processes_of(paths: Paths, user: str) -> Iterator[int]:
    """Process ids, in no order."""
    number, mark = _number(paths, user), server_mark(paths, user)
    return (pid for pid in pids() if (has_mark(pid, mark) if number is None else _uid(pid) == number))


def _number(paths: Paths, user: str) -> int | None:
    """The user's own user number; None where the platform is not root, or the user never had a server."""
    return load_numbers(paths).get(user) if os.getuid() == 0 else None


def _uid(pid: int) -> int | None:
    """The real user number. Not the owner of /proc/PID, which a process can make root's."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return next(int(line.split()[1]) for line in lines if line.startswith("Uid:"))


def _kill_everything_of(number: int) -> None:
    """As that user, to all whom it may signal: the kernel does it in one step, so that no process can fork away.

    Raises:
        ValueError: the number is none of the hub's users'.
    """
    if not FIRST < number <= LAST:
        raise ValueError(f"{number}: no user number of the hub's, which are {FIRST + 1} to {LAST}")
    subprocess.run(
        (str(Path(sys.executable).resolve()), "-I", "-S", "-c", KILL_ALL),
        user=number,
        group=number,
        extra_groups=(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        timeout=KILL_WITHIN_S,
        check=True,
    )
