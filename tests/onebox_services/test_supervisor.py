"""The supervisor with real children: slow, stubborn, short-lived, and left behind."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from slipway.onebox.supervisor import history, loop
from slipway.onebox.supervisor import process as launcher
from slipway.onebox.supervisor.control import stop_without_supervisor
from slipway.onebox.supervisor.history import Phase
from slipway.onebox.supervisor.loop import Desired, Supervisor
from slipway.onebox.supervisor.procfs import identify
from slipway.onebox.supervisor.spec import Port, ProcessSpec, SilentError
from slipway.onebox.supervisor.state import ProcessState, load_states
from tests.onebox_services.specs import FOREVER, FileProbe, python
from tests.waiting import eventually


class Machine:
    """One supervisor in this process, whose wishes a test changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.lines: list[str] = []
        self.desired = Desired((), frozenset())
        self.task: asyncio.Task[None] | None = None

    def want(self, *specs: ProcessSpec, names: frozenset[str] | None = None) -> None:
        self.desired = Desired(specs, frozenset(spec.name for spec in specs) if names is None else names)
        if self.task is None:
            self.task = asyncio.create_task(self.supervisor().run())
        else:
            os.kill(os.getpid(), signal.SIGHUP)

    def supervisor(self) -> Supervisor:
        return Supervisor(load=lambda: self.desired, run=self.run, logs=self.folder / "logs", say=self.lines.append)

    def state(self, name: str) -> ProcessState | None:
        return load_states(self.run).get(name)

    async def reaches(self, name: str, phase: Phase) -> ProcessState:
        def reached() -> ProcessState | None:
            state = self.state(name)
            return state if state is not None and state.phase is phase else None

        found = await eventually(reached, what=f"{name} to be {phase}: {self.lines}")
        assert found is not None
        return found

    async def ends(self) -> None:
        assert self.task is not None
        await asyncio.wait_for(self.task, 20)


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    made = Machine(tmp_path)
    yield made
    if made.task is not None and not made.task.done():
        os.kill(os.getpid(), signal.SIGTERM)
        await made.ends()
    stop_without_supervisor(made.run, names=list(load_states(made.run)), on_stopped=lambda _name, _took_s: None)


def stopping(lines: list[str]) -> list[str]:
    return [line.split()[1] for line in lines if line.startswith("stop ")]


async def test_dependents_start_after_and_stop_before_what_they_need(machine: Machine) -> None:
    gate = machine.folder / "gate"
    slow = python("database", FOREVER, probe=FileProbe(gate))
    machine.want(slow, python("server", FOREVER, after=("database",)))
    await machine.reaches("database", Phase.STARTING)
    assert machine.state("server") is None
    gate.touch()
    state = await machine.reaches("server", Phase.READY)
    assert state.is_alive
    os.kill(os.getpid(), signal.SIGTERM)
    await machine.ends()
    assert stopping(machine.lines) == ["server", "database"]
    assert load_states(machine.run) == {}
    assert not state.is_alive


async def test_stubborn_process_is_killed_after_its_grace(machine: Machine) -> None:
    ready = machine.folder / "ready"
    code = f"import signal, pathlib; signal.signal(15, signal.SIG_IGN); pathlib.Path({str(ready)!r}).touch()\nwhile True: signal.pause()"
    machine.want(python("stubborn", code, probe=FileProbe(ready), grace_s=0.2))
    state = await machine.reaches("stubborn", Phase.READY)
    began_s = time.monotonic()
    os.kill(os.getpid(), signal.SIGTERM)
    await machine.ends()
    assert time.monotonic() - began_s >= 0.2
    assert not state.is_alive
    assert any(line.startswith("kill stubborn") for line in machine.lines)


async def test_what_a_dead_process_left_in_its_session_is_ended_before_it_starts_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers of a PostgreSQL whose first process was killed keep its shared memory, and the next one out."""
    monkeypatch.setattr(history, "FIRST_BACKOFF_S", 0.001)
    ready = machine.folder / "worker"
    code = f"""
import os, pathlib, signal
if os.fork() == 0:
    os.setpgid(0, 0)  # out of the group, in the session
    pathlib.Path({str(ready)!r}).with_suffix(".new").write_text(str(os.getpid()))
    pathlib.Path({str(ready)!r}).with_suffix(".new").rename({str(ready)!r})
signal.pause()
"""
    machine.want(python("server", code, probe=FileProbe(ready)))
    first = await machine.reaches("server", Phase.READY)
    worker = identify(int(ready.read_text()))
    assert first.identity
    assert worker
    ready.unlink()
    os.kill(first.identity.pid, signal.SIGKILL)
    await eventually(ready.exists, what="it starts again")
    assert not worker.is_alive


async def test_crashing_process_ends_in_a_named_crash_loop(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "FIRST_BACKOFF_S", 0.001)
    machine.want(python("broken", "print('the reason'); raise SystemExit(3)", probe=FileProbe(machine.folder / "no")))
    state = await machine.reaches("broken", Phase.CRASH_LOOP)
    assert (state.restarts, state.problem) == (history.CRASH_LOOP_FAILURES, "exited with code 3")
    assert launcher.last_lines(Path(state.log)) == ["the reason"] * history.CRASH_LOOP_FAILURES


async def test_asking_again_forgives_a_crash_loop(machine: Machine) -> None:
    fine = machine.folder / "fine"
    code = f"import pathlib, signal, sys\nif not pathlib.Path({str(fine)!r}).exists(): sys.exit(78)\nsignal.pause()"
    spec = python("server", code, probe=FileProbe(fine))
    machine.want(spec)
    await machine.reaches("server", Phase.CRASH_LOOP)
    fine.touch()
    machine.want(spec)
    await machine.reaches("server", Phase.READY)


@dataclass(frozen=True)
class Mute:
    """Answers unless the file is there."""

    path: Path

    async def check(self) -> None:
        if self.path.exists():
            raise SilentError("no answer")


async def test_hung_process_is_killed_and_started_again(machine: Machine) -> None:
    mute = machine.folder / "mute"
    machine.want(python("server", FOREVER, probe=Mute(mute), hung_after_s=0.1))
    first = await machine.reaches("server", Phase.READY)
    assert first.identity is not None
    os.kill(first.identity.pid, signal.SIGSTOP)
    mute.touch()
    await eventually(lambda: not first.is_alive, what="the hung process is gone")
    mute.unlink()

    def another() -> bool:
        state = machine.state("server")
        return state is not None and state.phase is Phase.READY and state.identity != first.identity

    await eventually(another, what=f"another one is ready: {machine.lines}")
    assert any(line.startswith("kill server   did not answer for") for line in machine.lines)


async def test_full_disk_ends_neither_the_supervisor_nor_its_housekeeping(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_log: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(launcher, "cut_log", full)
    monkeypatch.setattr(loop, "HOUSEKEEPING_S", 0.01)
    monkeypatch.setattr(history, "FIRST_BACKOFF_S", 0.001)
    machine.want(python("server", FOREVER))
    state = await machine.reaches("server", Phase.CRASH_LOOP)
    assert state.problem.startswith("server: cannot start")
    assert state.problem.endswith("No space left on device")
    told = "supervisor: its log cannot be cut: [Errno 28] No space left on device"
    await eventually(lambda: machine.lines.count(told) > 2, what="housekeeping goes on")
    monkeypatch.undo()
    machine.want(python("server", FOREVER))
    await machine.reaches("server", Phase.READY)


async def test_killed_process_comes_back_with_a_new_pid(machine: Machine) -> None:
    machine.want(python("server", FOREVER))
    first = await machine.reaches("server", Phase.READY)
    assert first.identity is not None
    os.kill(first.identity.pid, signal.SIGKILL)

    def again() -> bool:
        state = machine.state("server")
        return state is not None and state.phase is Phase.READY and state.identity != first.identity

    await eventually(again, what="a new process")
    state = machine.state("server")
    assert state is not None
    assert state.restarts == 1


async def test_task_runs_once_and_lets_its_dependents_start(machine: Machine) -> None:
    made = machine.folder / "made"
    task = python("init", f"open({str(made)!r}, 'a').write('x')", probe=None)
    server = python("server", FOREVER, after=("init",))
    machine.want(task, server)
    await machine.reaches("server", Phase.READY)
    assert (await machine.reaches("init", Phase.DONE)).is_task
    machine.want(task, server)
    other = python("other", FOREVER, after=("server",))
    machine.want(task, server, other)
    await machine.reaches("other", Phase.READY)
    assert made.read_text() == "x"


async def test_part_can_be_stopped_and_brought_back(machine: Machine) -> None:
    specs = (python("database", FOREVER), python("server", FOREVER, after=("database",)))
    machine.want(*specs)
    server = await machine.reaches("server", Phase.READY)
    machine.want(*specs, names=frozenset({"server"}))
    await eventually(lambda: machine.state("database") is None, what="the database to stop")
    assert server.is_alive
    machine.want(*specs)
    await machine.reaches("database", Phase.READY)
    assert machine.state("server") == server


async def test_changed_spec_replaces_the_process(machine: Machine) -> None:
    machine.want(python("server", FOREVER))
    first = await machine.reaches("server", Phase.READY)
    changed = python("server", FOREVER + "  # changed")
    machine.want(changed)
    await eventually(lambda: _fingerprint(machine) == changed.fingerprint, what="the new spec to run")
    assert not first.is_alive


def _fingerprint(machine: Machine) -> str:
    state = machine.state("server")
    return state.fingerprint if state and state.phase is Phase.READY else ""


async def test_next_supervisor_adopts_what_a_killed_one_left(machine: Machine) -> None:
    spec = python("server", FOREVER)
    machine.want(spec)
    first = await machine.reaches("server", Phase.READY)
    assert machine.task is not None
    machine.task.cancel()  # it dies without stopping anything
    with pytest.raises(asyncio.CancelledError):
        await machine.task
    machine.task = None
    assert first.is_alive
    machine.want(spec)
    await eventually(lambda: f"adopt server   pid {_pid(first)}" in machine.lines, what="the adoption")
    adopted = await machine.reaches("server", Phase.READY)
    assert adopted.identity == first.identity


def _pid(state: ProcessState) -> int:
    assert state.identity is not None
    return state.identity.pid


async def test_down_without_a_supervisor_stops_in_reverse_order(machine: Machine) -> None:
    machine.want(python("database", FOREVER), python("server", FOREVER, after=("database",)))
    states = [await machine.reaches(name, Phase.READY) for name in ("database", "server")]
    assert machine.task is not None
    machine.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await machine.task
    machine.task = None
    stopped: list[str] = []
    say: Callable[[str, float], None] = lambda name, _took_s: stopped.append(name)  # noqa: E731
    stop_without_supervisor(machine.run, names=["database", "server"], on_stopped=say)
    assert stopped == ["server", "database"]
    assert not any(state.is_alive for state in states)


async def test_taken_port_is_a_crash_loop_that_names_the_owner(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = Port("127.0.0.1", server.getsockname()[1], "--api-port")
        machine.want(python("api", FOREVER, ports=(port,)))
        state = await machine.reaches("api", Phase.CRASH_LOOP)
    assert f"pid {os.getpid()}" in state.problem
    assert "--api-port" in state.problem
