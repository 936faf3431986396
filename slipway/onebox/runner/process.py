"""Processes of containers: the only module that starts any.

Each is the leader of its own session and group, outlives the runner, and is known by pid **and** start time, so that a
reused pid is never taken for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.onebox.runner.marks import kill_marked
from slipway.onebox.runner.placement import Placement
from slipway.onebox.supervisor.process_stat import read_stat
from slipway.onebox.supervisor.procfs import TICKS_PER_S, pids

SANDBOX = Path(__file__).with_name("sandbox.py")
KILLED = 128 + signal.SIGKILL


@dataclass(frozen=True)
class Command:
    """What a container runs."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    placement: Placement
    skeletons: tuple[Path, ...] = ()  # one folder per overlay
    keep: tuple[Path, ...] = ()  # folders that must stay writable although an overlay covers them


@dataclass(frozen=True)
class Identity:
    """One process for ever: ``start_ticks`` is the kernel's start time, in clock ticks since boot."""

    pid: int
    start_ticks: int

    @property
    def started_s(self) -> float:
        """When it started, in seconds since boot: at most a tick before ``boot_time`` said so."""
        return self.start_ticks / TICKS_PER_S


class Process:
    """A running container. ``popen`` is None for one that an earlier runner started.

    ``mark`` is how processes that left its group are known; without one they are left alone.
    """

    def __init__(
        self, identity: Identity, pidfd: int, popen: subprocess.Popen[bytes] | None, *, mark: str = ""
    ) -> None:
        self.identity = identity
        self._mark = mark
        self._pidfd = pidfd
        self._popen = popen
        self._ended = False

    async def wait(self) -> int | None:
        """The exit code (128 + n for a signal); None where only the parent, a runner that is gone, could know it.

        What is left of it is killed: a container ends with its first process.
        """
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        loop.add_reader(self._pidfd, _resolve, ended)
        try:
            await ended
        except asyncio.CancelledError:
            loop.remove_reader(self._pidfd)
            self.let_go()
            raise
        loop.remove_reader(self._pidfd)
        self.signal_group(signal.SIGKILL)  # before reaping: until then the group's number cannot be reused
        self._ended = True
        if self._mark:
            await asyncio.to_thread(kill_marked, self._mark)
        self.let_go()
        if self._popen is None:
            return None
        code = self._popen.wait()
        return 128 - code if code < 0 else code

    def let_go(self) -> None:
        """Wait for it no more; where it runs, it runs on, and can be adopted."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def signal_group(self, number: signal.Signals) -> None:
        """To every process of the group; nothing happens where the container has ended."""
        if self._ended or not (self._popen is not None or _is_ours(self.identity)):
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.identity.pid, number)


def spawn(command: Command, *, stdout: int, stderr: int, mark: str = "") -> Process:
    """Start it. Raises OSError and ValueError (a NUL in a word or variable)."""
    plan = os.memfd_create("plan", os.MFD_CLOEXEC)
    try:
        os.write(plan, json.dumps(_plan(command)).encode(errors="surrogateescape"))
        os.lseek(plan, 0, os.SEEK_SET)
        popen = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SANDBOX), str(plan)],
            env=dict(command.env),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            pass_fds=[plan],
        )
    finally:
        os.close(plan)
    stat = read_stat(popen.pid)
    if stat is None:
        raise OSError(f"process {popen.pid} is not in /proc")
    return Process(Identity(popen.pid, stat.start_ticks), os.pidfd_open(popen.pid), popen, mark=mark)


def adopt(identity: Identity, *, mark: str = "") -> Process | None:
    """The living process that an earlier runner started; None where it has ended."""
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    if not is_same(identity):  # checked after the descriptor is held: no reuse can slip in between
        os.close(pidfd)
        return None
    return Process(identity, pidfd, None, mark=mark)


def is_same(identity: Identity) -> bool:
    """Whether that very process still runs; a zombie does not."""
    found = read_stat(identity.pid)
    return found is not None and found.is_alive and found.start_ticks == identity.start_ticks


async def run_to_end(command: Command, *, timeout_s: float) -> int | None:
    """Exit code of a short command (a probe or a hook); None where it took longer and was killed."""
    process = spawn(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    waiting = asyncio.create_task(process.wait())
    try:
        return await asyncio.wait_for(asyncio.shield(waiting), timeout_s)
    except TimeoutError:
        return None
    finally:
        process.signal_group(signal.SIGKILL)
        await waiting


def sessions() -> dict[int, list[int]]:
    """Leader → processes of its session, found in /proc."""
    found: dict[int, list[int]] = {}
    for pid in pids():
        if (stat := read_stat(pid)) is not None:
            found.setdefault(stat.session, []).append(pid)
    return found


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _plan(command: Command) -> dict[str, Any]:
    placement = command.placement
    return {
        "argv": list(command.argv),
        "cwd": str(command.cwd),
        "keep": [str(path) for path in command.keep],
        "overlays": [
            {"ancestor": overlay.ancestor, "skeleton": str(skeleton)}
            for overlay, skeleton in zip(placement.overlays, command.skeletons, strict=True)
        ],
        "binds": [
            {"source": str(bind.source), "target": bind.target, "read_only": bind.is_read_only}
            for bind in placement.binds
        ],
    }


def _is_ours(identity: Identity) -> bool:
    """The process lives, or it has ended and left members of its group, which keep the number from being reused."""
    now = read_stat(identity.pid)
    return identity.pid in sessions() if now is None else now.start_ticks == identity.start_ticks
