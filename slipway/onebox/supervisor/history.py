"""What happened to a process, folded into what is known about it. Pure: time comes with each event."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
CRASH_LOOP_FAILURES = 6  # consecutive; 0.5 + 1 + 2 + 4 + 8 s of back-off lie before the last
PERMANENT_EXIT = 78  # EX_CONFIG of sysexits.h: trying again cannot help
STABLE_AFTER_S = 30.0  # ready for so long: earlier failures no longer count


class Phase(StrEnum):
    """Where a process stands; ``ready`` is the only good one for a server, ``done`` for a task."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    DONE = "done"
    STOPPING = "stopping"
    BACKOFF = "back-off"
    CRASH_LOOP = "crash loop"


ALIVE = frozenset({Phase.STARTING, Phase.READY, Phase.STOPPING})
SATISFIED = frozenset({Phase.READY, Phase.DONE})


@dataclass(frozen=True)
class Started:
    """The launcher made (or, after a supervisor's death, adopted) the process."""

    name: str
    pid: int
    fingerprint: str
    at_s: float


@dataclass(frozen=True)
class BecameReady:
    name: str
    at_s: float


@dataclass(frozen=True)
class StopBegan:
    """We asked it to end; ``failure`` says why when that was not by anybody's wish."""

    name: str
    at_s: float
    failure: str = ""


@dataclass(frozen=True)
class FellSilent:
    """It was ready and does not answer any more: a hung process, which no signal but KILL ends."""

    name: str
    pid: int
    at_s: float
    failure: str


@dataclass(frozen=True)
class Exited:
    """``code`` is negative for a signal, None when an adopted process's code is not known."""

    name: str
    code: int | None
    at_s: float


@dataclass(frozen=True)
class StartFailed:
    """It could not even be launched; ``permanent`` when trying again cannot help (a taken port)."""

    name: str
    message: str
    at_s: float
    permanent: bool = False


@dataclass(frozen=True)
class Forgiven:
    """Somebody asked again: a crash loop gets a new chance, a finished task runs again."""

    name: str
    at_s: float


Event = Started | BecameReady | StopBegan | FellSilent | Exited | StartFailed | Forgiven


@dataclass(frozen=True)
class Record:
    """All that is known about one process; times are seconds of one monotonic clock."""

    name: str
    phase: Phase = Phase.STOPPED
    is_task: bool = False
    pid: int | None = None
    fingerprint: str = ""
    since_s: float = 0.0
    started_s: float = 0.0
    ready_after_s: float | None = None
    restarts: int = 0
    failures: int = 0
    retry_at_s: float = 0.0
    problem: str = ""


def backoff_s(failures: int) -> float:
    """Seconds to wait after the given number of consecutive failures: 0.5, 1, 2, … 30."""
    return min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** (failures - 1))


def describe_exit(code: int | None) -> str:
    if code is None:
        return "ended"
    return f"killed by signal {-code}" if code < 0 else f"exited with code {code}"


def fold(record: Record, event: Event) -> Record:
    """The record after one event."""
    match event:
        case Started():
            return replace(
                record,
                phase=Phase.STARTING,
                pid=event.pid,
                fingerprint=event.fingerprint,
                since_s=event.at_s,
                started_s=event.at_s,
                ready_after_s=None,
            )
        case BecameReady():
            took_s = event.at_s - record.started_s
            return replace(record, phase=Phase.READY, since_s=event.at_s, ready_after_s=took_s, problem="")
        case StopBegan() | FellSilent():
            return replace(record, phase=Phase.STOPPING, since_s=event.at_s, problem=event.failure)
        case Exited():
            return _after_exit(record, event)
        case StartFailed():
            return _failed(record, event.message, event.at_s, permanent=event.permanent)
        case Forgiven():
            return replace(record, phase=Phase.STOPPED, failures=0, since_s=event.at_s)


def _after_exit(record: Record, event: Exited) -> Record:
    if record.phase is Phase.STOPPING and not record.problem:
        return replace(record, phase=Phase.STOPPED, pid=None, since_s=event.at_s, failures=0)
    if record.is_task and event.code == 0:
        took_s = event.at_s - record.started_s
        return replace(
            record, phase=Phase.DONE, pid=None, since_s=event.at_s, ready_after_s=took_s, failures=0, problem=""
        )
    was_stable = record.phase is Phase.READY and event.at_s - record.since_s >= STABLE_AFTER_S
    record = replace(record, failures=0) if was_stable else record
    problem = record.problem if record.phase is Phase.STOPPING else describe_exit(event.code)
    return _failed(record, problem, event.at_s, permanent=event.code == PERMANENT_EXIT, at_once=was_stable)


def _failed(record: Record, problem: str, at_s: float, *, permanent: bool = False, at_once: bool = False) -> Record:
    """``at_once``: what has run well for long is started again without a pause, as clients wait for it."""
    failures = record.failures + 1
    looping = permanent or failures >= CRASH_LOOP_FAILURES
    return replace(
        record,
        phase=Phase.CRASH_LOOP if looping else Phase.BACKOFF,
        pid=None,
        since_s=at_s,
        restarts=record.restarts + 1,
        failures=failures,
        retry_at_s=at_s if at_once else at_s + backoff_s(failures),
        problem=problem,
    )
