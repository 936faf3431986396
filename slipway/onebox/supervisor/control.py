"""The other side of the supervisor: start one in the background, hand it a wish, stop everything without it."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from slipway.onebox.supervisor.errors import SupervisorError
from slipway.onebox.supervisor.process import kill_session, signal_group
from slipway.onebox.supervisor.procfs import Identity, identify
from slipway.onebox.supervisor.state import (
    UNREADABLE,
    ProcessState,
    load_states,
    parse_identity,
    remove_state,
    tell_unreadable,
)

LOCK = "supervisor.lock"  # held while a supervisor lives; its content is the holder's identity


@contextmanager
def sole_supervisor(run: Path) -> Iterator[bool]:
    """Hold the lock of this home; False when another supervisor already does.

    Raises:
        SupervisorError: the disk is full.
    """
    run.mkdir(parents=True, exist_ok=True)
    with (run / LOCK).open("ab", buffering=0) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        myself = identify(os.getpid())
        try:
            lock.truncate(0)
            lock.write(json.dumps(asdict(myself)).encode() if myself else b"")
        except OSError as error:
            raise SupervisorError(
                f"{run / LOCK}: cannot be written: {error.strerror}: make room on its disk"
            ) from error
        try:
            yield True
        finally:
            lock.truncate(0)


def living_supervisor(run: Path) -> Identity | None:
    """The identity of the supervisor of this home, when one lives."""
    try:
        text = (run / LOCK).read_text()
    except FileNotFoundError:
        return None
    if not text:
        return None
    try:
        identity = parse_identity(json.loads(text))
    except UNREADABLE as error:
        tell_unreadable(run / LOCK, repr(error), "no supervisor is known: the next one writes it anew")
        return None
    return identity if identity.is_alive else None


def wake(supervisor: Identity) -> None:
    """Make it read again what is wanted."""
    if supervisor.is_alive:
        os.kill(supervisor.pid, signal.SIGHUP)


def stop_without_supervisor(run: Path, *, names: Collection[str], on_stopped: Callable[[str, float], None]) -> None:
    """Stop the named processes by their state files, in reverse start order."""
    for state in reversed(load_states(run).values()):
        if state.name in names:
            began_s = time.monotonic()
            _stop(state)
            remove_state(run, state.name)
            if state.identity is not None:
                on_stopped(state.name, time.monotonic() - began_s)


def _stop(state: ProcessState) -> None:
    """Ask, wait for the grace, kill; a pid that belongs to another process by now is left alone."""
    identity = state.identity
    if identity is None or not identity.is_alive:
        return
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        signal_group(identity, state.stop_signal)
        if not select.select([descriptor], [], [], state.grace_s)[0]:
            signal_group(identity, signal.SIGKILL)
            select.select([descriptor], [], [], state.grace_s)
    finally:
        os.close(descriptor)
    kill_session(identity.pid)


def kill_supervisor(run: Path) -> None:
    """End a supervisor that does not answer; what it started goes on."""
    if identity := living_supervisor(run):
        os.kill(identity.pid, signal.SIGKILL)
