"""Following a start or a stop through the state files, process by process."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway.onebox.paths import Paths
from slipway.onebox.services.folders import is_own
from slipway.onebox.services.hub.processes import HUB
from slipway.onebox.services.hub.servers import end_left_servers
from slipway.onebox.services.pods import kill_left_containers
from slipway.onebox.services.start import POLL_S, READY_WITHIN_S, SUPERVISOR_WITHIN_S, Platform, PlatformError
from slipway.onebox.services.wanted import Wish, load_answer, load_wish, save_wish
from slipway.onebox.supervisor.control import kill_supervisor, living_supervisor, stop_without_supervisor, wake
from slipway.onebox.supervisor.history import SATISFIED, Phase
from slipway.onebox.supervisor.process import last_lines
from slipway.onebox.supervisor.state import ProcessState, load_states

STOP_WITHIN_S = 90.0  # above every grace on the longest chain of dependents


@dataclass(frozen=True)
class NotUpError(Exception):
    """A process does not become ready: which, why, and what its log says last."""

    process: str
    problem: str
    log: Path
    lines: tuple[str, ...]

    def __str__(self) -> str:
        shown = "".join(f"\n  {line}" for line in self.lines)
        return f"{self.process}: {self.problem}; the end of {self.log}:{shown or ' (empty)'}"


def await_ready(platform: Platform, wish: Wish, *, on_ready: Callable[[ProcessState], None]) -> bool:
    """Call ``on_ready`` for each wanted process as it becomes ready; return when all are.

    False when the supervisor runs other sources than these, so that its processes may differ from ours.

    Raises:
        NotUpError: one crashes again and again, or not all are ready in time.
        PlatformError: the supervisor ended, or does not answer.
    """
    paths = platform.paths
    expected = _await_answer(platform, wish)
    open_names = {name for name in wish.names if name in expected}
    deadline = time.monotonic() + READY_WITHIN_S
    while open_names:
        states = load_states(paths.run)
        for name in [name for name in states if name in open_names and _is_ready(states[name], expected[name])]:
            open_names.discard(name)
            on_ready(states[name])
        looping = [name for name, state in states.items() if state.phase is Phase.CRASH_LOOP and name in open_names]
        if looping or (open_names and time.monotonic() > deadline):
            name = next(iter(looping or (name for name in expected if name in open_names)))
            raise _not_up(platform, name, states.get(name))
        _refuse_dead_supervisor(paths)
        time.sleep(POLL_S)
    return expected == {spec.name: spec.fingerprint for spec in platform.specs}


def _await_answer(platform: Platform, wish: Wish) -> Mapping[str, str]:
    """The fingerprints that the supervisor works towards since it took the wish."""
    deadline = time.monotonic() + SUPERVISOR_WITHIN_S
    while True:
        answer = load_answer(platform.paths)
        if answer is not None and answer.number >= wish.number:
            return answer.fingerprints
        _refuse_dead_supervisor(platform.paths)
        if time.monotonic() > deadline:
            raise PlatformError(f"the supervisor does not answer: read {platform.paths.logs / 'supervisor.log'}")
        time.sleep(POLL_S)


def _refuse_dead_supervisor(paths: Paths) -> None:
    if living_supervisor(paths.run) is None:
        raise PlatformError(f"the supervisor ended: read {paths.logs / 'supervisor.log'}")


def _is_ready(state: ProcessState, fingerprint: str) -> bool:
    return state.fingerprint == fingerprint and state.phase in SATISFIED and (state.is_task or state.is_alive)


def _not_up(platform: Platform, name: str, state: ProcessState | None) -> NotUpError:
    log = platform.paths.logs / f"{name}.log"
    if state is None:
        return NotUpError(name, f"not started after {READY_WITHIN_S:g} s", log, ())
    problem = state.problem or f"not ready after {READY_WITHIN_S:g} s"
    return NotUpError(name, f"{state.phase}: {problem}", log, tuple(last_lines(log)))


def stop(platform: Platform, names: Collection[str], *, on_stopped: Callable[[str, float], None]) -> None:
    """Stop processes in reverse start order, with the supervisor where one lives; others go on.

    Raises:
        PlatformError: a supervisor that does not do it in time, while other processes are to go on.
    """
    _stop(platform, names, on_stopped)
    if "runner" in names:
        kill_left_containers(platform.paths)
    if HUB in names:
        end_left_servers(platform.paths)
    if not load_states(platform.paths.run) and is_own(platform.paths.sockets):
        shutil.rmtree(platform.paths.sockets)  # it lies outside SLIPWAY_HOME: nothing may stay behind


def _stop(platform: Platform, names: Collection[str], on_stopped: Callable[[str, float], None]) -> None:
    run = platform.paths.run
    supervisor = living_supervisor(run)
    if supervisor is not None:
        wish = load_wish(platform.paths)
        rest = wish.names - set(names)
        save_wish(platform.paths, rest, wish.environment)
        wake(supervisor)
        if _gone(run, names, on_stopped) and (rest or _await_end(run)):
            return
        if rest:
            raise PlatformError(f"not stopped after {STOP_WITHIN_S:g} s: read {platform.paths.logs / 'supervisor.log'}")
        kill_supervisor(run)
    stop_without_supervisor(run, names=names, on_stopped=on_stopped)


def _gone(run: Path, names: Collection[str], on_stopped: Callable[[str, float], None]) -> bool:
    """Report each process as its state file goes; whether all went in time."""
    began_s = time.monotonic()
    present = {name: state for name, state in load_states(run).items() if name in names}
    while present:
        left = load_states(run)
        for name in [name for name in reversed(present) if name not in left]:
            if not present.pop(name).is_task:
                on_stopped(name, time.monotonic() - began_s)
        if time.monotonic() - began_s > STOP_WITHIN_S:
            return False
        time.sleep(POLL_S)
    return True


def _await_end(run: Path) -> bool:
    deadline = time.monotonic() + STOP_WITHIN_S
    while living_supervisor(run) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
