"""A running process: started here or adopted after a supervisor's death, watched through a pidfd, signalled by group."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from slipway.onebox.supervisor.errors import LauncherError, PortTakenError
from slipway.onebox.supervisor.procfs import (
    Identity,
    descendants,
    describe_owner,
    identify,
    listeners,
    pids,
    session_of,
)
from slipway.onebox.supervisor.spec import ProcessSpec

LOG_BYTES = 8 << 20  # a log above this is cut to its last part, the rest kept once as `.1`
LOG_TAIL_LINES = 12
LOG_TAIL_BYTES = 16 << 10


@dataclass
class Process:
    """A handle on one process group. ``child`` is None for an adopted process, whose exit code nobody learns."""

    identity: Identity
    child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self.identity.pid

    def open_pidfd(self) -> int:
        """A descriptor that becomes readable when the process ends.

        Raises:
            ProcessLookupError: it has ended, and its pid is free or somebody else's.
        """
        descriptor = os.pidfd_open(self.pid)
        if self.child is None and not self.identity.is_alive:
            os.close(descriptor)
            raise ProcessLookupError(self.pid)
        return descriptor

    def reap(self) -> int | None:
        """The exit code of an ended process, if it was ours to learn."""
        return self.child.wait() if self.child else None

    def send(self, signal_number: int) -> None:
        """Signal the process's group, and at KILL whatever else is left of its session."""
        signal_group(self.identity, signal_number)


def signal_group(identity: Identity, signal_number: int) -> None:
    """Signal a process group by its leader, unless the leader's pid belongs to somebody else by now."""
    if not identity.is_alive:
        return
    stragglers = descendants(identity.pid) if signal_number == signal.SIGKILL else set()
    _kill(os.killpg, identity.pid, signal_number)
    for pid in stragglers:  # those that left the group, like PostgreSQL's workers
        _kill(os.kill, pid, signal_number)


def _kill(how: Callable[[int, int], None], pid: int, signal_number: int) -> None:
    try:
        how(pid, signal_number)
    except ProcessLookupError:
        return


def kill_session(leader: int) -> None:
    """End what a dead leader left behind in its session."""
    for pid in pids():
        if pid != leader and session_of(pid) == leader:
            _kill(os.kill, pid, signal.SIGKILL)


def start(spec: ProcessSpec, *, log: Path, ours: Collection[int]) -> Process:
    """Start the process in a session of its own, its output appended to ``log``.

    Raises:
        PortTakenError: one of its ports answers, and not to a process in ``ours``.
        LauncherError: the program cannot be executed, or its log not be written.
    """
    refuse_taken_ports(spec, ours=ours)
    with _opened(log, name=spec.name) as output:
        try:
            child = subprocess.Popen(
                spec.argv,
                env={**spec.inherited, **spec.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise LauncherError(process=spec.name, path=spec.argv[0], cause=error) from error
    if spec.nice:
        give_way(child.pid, spec.nice)
    identity = identify(child.pid) or Identity(child.pid, 0, "")  # ended at once: a zombie until reaped
    return Process(identity, child)


def _opened(log: Path, *, name: str) -> BinaryIO:
    """The log, for appending. Raises LauncherError, as on a full disk."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        cut_log(log)
        return log.open("ab")
    except OSError as error:
        raise LauncherError(process=name, path=str(log), cause=error) from error


def give_way(pid: int, more: int) -> None:
    """Add ``more`` to the niceness of a child that may have ended already; the kernel stops at 19."""
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid) + more)


def spawn_supervisor(argv: Sequence[str], *, log: Path) -> subprocess.Popen[bytes]:
    """Start a supervisor that outlives the caller's terminal and session."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            cwd="/",  # the caller's folder may go away, and its modules are not ours
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def refuse_taken_ports(spec: ProcessSpec, *, ours: Collection[int]) -> None:
    """Raise PortTakenError when somebody else listens where the process will."""
    for port in spec.ports:
        strangers = [pid for pid in listeners(port.host, port.number) if pid is None or pid not in ours]
        if strangers:
            owner = describe_owner(strangers[0])
            raise PortTakenError(process=spec.name, address=str(port), owner=owner, flag=port.flag)


def cut_log(log: Path) -> None:
    """Keep a log bounded: above the limit, its contents move to ``<name>.1`` and the file starts anew.

    The file itself stays (truncated), because running processes hold it open for appending. Where the disk has no room
    for ``.1`` the past is given up.
    """
    if not log.exists() or log.stat().st_size <= LOG_BYTES:
        return
    with log.open("rb+") as file:
        file.seek(-LOG_BYTES, os.SEEK_END)
        kept = log.with_name(f"{log.name}.1")
        try:
            kept.write_bytes(file.read())
        except OSError:
            kept.unlink(missing_ok=True)
        file.truncate(0)


def last_lines(log: Path) -> list[str]:
    """The end of a log, for an error message; empty when there is none."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
        return file.read().decode(errors="replace").splitlines()[-LOG_TAIL_LINES:]
