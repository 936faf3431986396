"""How a container's processes are known wherever they went: by a variable in the environment that they were started with."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.supervisor.process_stat import read_stat
from slipway.onebox.supervisor.procfs import pids

MARK = "SLIPWAY_CONTAINER"
"""Variable of a container's processes: ``<tag of the home>/<uid of the Pod>/<container>``. A restored home has the same Pods."""
GONE_WITHIN_S = 2.0
"""What was killed is gone in milliseconds; a machine without time to spare, or a disk that hangs, takes longer."""
LOOK_AGAIN_S = 0.001


def container_mark(paths: Paths, pod_uid: str, container: str) -> str:
    return f"{paths.tag}/{pod_uid}/{container}"


def has_mark(pid: int, mark: str) -> bool:
    """Whether the process, or the one that started it, was given this mark; a process can give it up.

    One that also left the session runs on after its container; what it prints is read by nobody.
    """
    return _holds(_environment(pid), mark)


def kill_marked(mark: str) -> None:
    """End every process of a container, also those that made a session or a group of their own.

    A process that is becoming another program shows no environment: it is looked at again. Both that and what was
    killed are waited for, for at most ``GONE_WITHIN_S``: then the ports of the dead are free for who starts next.
    """
    until = time.monotonic() + GONE_WITHIN_S
    killed: set[int] = set()
    while True:
        shown = {pid: _environment(pid) for pid in pids() if pid not in killed}
        found = [pid for pid, environment in shown.items() if _holds(environment, mark)]
        killed.update(pid for pid in found if _kill_if_marked(pid, mark))
        if found:  # until none has forked again
            continue
        blank = (pid for pid, environment in shown.items() if not environment)
        if time.monotonic() > until or not any(_is_becoming(pid) for pid in blank):
            break
        time.sleep(LOOK_AGAIN_S)
    _await_ends(killed, until=until)


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # gone, or another user's
        return b""


def _holds(environment: bytes, mark: str) -> bool:
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


def _is_becoming(pid: int) -> bool:
    """Whether a process that showed no environment is, or was, inside execve(2): a program whose environment comes later."""
    try:
        Path(f"/proc/{pid}/exe").readlink()
        stat = read_stat(pid)
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # the kernel's own, gone, or another user's
        return False
    if stat is None:
        return False
    begin, end = stat.environment  # both 0 until execve(2) has laid it out
    return begin != end or begin == 0


def _kill_if_marked(pid: int, mark: str) -> bool:
    """Whether it was killed: it may have ended, or be becoming another program by now."""
    with suppress(ProcessLookupError), _held(pid) as descriptor:
        if has_mark(pid, mark):  # checked after the descriptor is held: no reuse can slip in between
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            return True
    return False


def _await_ends(killed: Iterable[int], *, until: float) -> None:
    for pid in killed:
        with suppress(ProcessLookupError), _held(pid) as descriptor:
            ended = select.poll()  # no select(): the runner may hold more than 1,024 descriptors
            ended.register(descriptor, select.POLLIN)
            ended.poll(max(until - time.monotonic(), 0) * 1000)


@contextmanager
def _held(pid: int) -> Iterator[int]:
    """Raises ProcessLookupError."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
