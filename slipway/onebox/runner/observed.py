"""What is known of one running Pod, and how each event changes it. Values only: nothing here acts.

Everything is decided by ``boot_time``, which nobody sets. ``started_at`` and ``finished_at`` are Unix seconds: they outlive
the runner in a state file, appear in the Pod's status, and decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from slipway.onebox.runner.spec import Container, Pod, ProbeKind

BACKOFF_FIRST_S = 10.0
BACKOFF_MAX_S = 300.0
BACKOFF_RESET_S = 600.0
"""A container that ran this long before it ended starts again at once, as on a kubelet."""
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 10.0
"""Failed preparations (an image never built, a ConfigMap missing) are cheap to look at again."""

BUILDING = "BuildingImage"
"""Why a container waits whose image the platform builds; no reason of Kubernetes', where a registry has it built."""

CANNOT_RUN = (126, 127)
SAID_BY_SANDBOX = "slipway: "
"""The exit codes of the sandbox where nothing of the container ran, and how its last line begins."""

Phase = Literal["waiting", "starting", "running", "exited"]


@dataclass(frozen=True)
class Exit:
    code: int
    reason: str
    started_at: float
    finished_at: float
    message: str = ""


@dataclass(frozen=True)
class Trials:
    """The results of one probe since the container started. ``last_at`` is when the latest trial began."""

    successes: int = 0  # in a row
    failures: int = 0  # in a row
    last_at: float | None = None
    is_running: bool = False
    has_succeeded: bool = False


@dataclass(frozen=True)
class Stop:
    """A stop that has begun: KILL follows at ``kill_at``."""

    reason: str
    kill_at: float
    is_killed: bool = False


@dataclass(frozen=True)
class ContainerState:
    phase: Phase = "waiting"
    restarts: int = 0
    crashes: int = 0  # ends in a row, each after a short run
    started_at: float = 0.0  # Unix seconds
    running_since: float = 0.0
    is_started: bool = False  # the startup probe has passed, or there is none
    is_ready: bool = False
    trials: Mapping[ProbeKind, Trials] = field(default_factory=dict)
    exit: Exit | None = None
    not_before: float = 0.0
    problem: str = ""  # why it waits: a Kubernetes reason such as ErrImagePull
    problem_message: str = ""
    failed_starts: int = 0
    stop: Stop | None = None

    @property
    def is_alive(self) -> bool:
        return self.phase in ("starting", "running")


@dataclass(frozen=True)
class Observed:
    """``stopping`` says why the whole Pod stops; '' while it should run."""

    containers: Mapping[str, ContainerState] = field(default_factory=dict)
    preparation: Literal["missing", "running", "done"] = "missing"
    prepare_not_before: float = 0.0
    failed_preparations: int = 0
    problem: str = ""
    problem_message: str = ""
    stopping: str = ""
    drain_until: float | None = None
    is_finished: bool = False

    def of(self, name: str) -> ContainerState:
        return self.containers.get(name, ContainerState())

    def with_container(self, name: str, state: ContainerState) -> Observed:
        return replace(self, containers={**self.containers, name: state})

    @property
    def alive(self) -> tuple[str, ...]:
        return tuple(name for name, state in self.containers.items() if state.is_alive)


def without_trials(observed: Observed) -> Observed:
    """What a Pod's status and its state file are made of: single results of probes are in neither."""
    containers = {name: replace(state, trials={}) for name, state in observed.containers.items()}
    return replace(observed, containers=containers)


def restart_delay_s(crashes: int) -> float:
    """The first restart is at once, then 10 s, doubling to 300 s."""
    return 0.0 if crashes <= 1 else min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(crashes - 2, 30))


def retry_delay_s(failures: int) -> float:
    return min(RETRY_MAX_S, RETRY_FIRST_S * 2.0 ** min(failures - 1, 30))


def prepared(observed: Observed) -> Observed:
    return replace(observed, preparation="done", problem="", problem_message="", failed_preparations=0)


def preparation_failed(observed: Observed, *, reason: str, message: str, now: float) -> Observed:
    failures = observed.failed_preparations + 1
    return replace(
        observed,
        preparation="missing",
        failed_preparations=failures,
        prepare_not_before=now + retry_delay_s(failures),
        problem=reason,
        problem_message=message,
    )


def started(observed: Observed, container: Container, *, now: float, shown_at: float) -> Observed:
    """``shown_at``: the same moment in Unix seconds."""
    state = observed.of(container.name)
    return observed.with_container(
        container.name,
        replace(
            state,
            phase="running",
            started_at=shown_at,
            running_since=now,
            is_started="startup" not in container.probes,
            is_ready="startup" not in container.probes and "readiness" not in container.probes,
            trials={},
            problem="",
            problem_message="",
            failed_starts=0,
        ),
    )


def hastened(observed: Observed, kill_at: float) -> Observed:
    """A stop that has begun ends by ``kill_at``; one that ends sooner still does."""
    containers = {
        name: replace(state, stop=replace(state.stop, kill_at=min(state.stop.kill_at, kill_at)))
        if state.stop
        else state
        for name, state in observed.containers.items()
    }
    return replace(observed, containers=containers)


def image_awaited(observed: Observed, name: str, *, message: str) -> Observed:
    """Its image is being built: it waits for ``image_came`` or ``start_failed``."""
    state = replace(observed.of(name), phase="waiting", not_before=math.inf, problem=BUILDING, problem_message=message)
    return observed.with_container(name, state)


def image_came(observed: Observed, name: str) -> Observed:
    return observed.with_container(name, replace(observed.of(name), not_before=0.0, problem="", problem_message=""))


def start_failed(
    observed: Observed, name: str, *, reason: str, message: str, now: float, again_s: float | None = None
) -> Observed:
    """Not an exit: nothing ran. It waits, and is tried again, after ``again_s`` where that is given."""
    state = observed.of(name)
    failures = state.failed_starts + 1
    return observed.with_container(
        name,
        replace(
            state,
            phase="waiting",
            failed_starts=failures,
            not_before=now + (retry_delay_s(failures) if again_s is None else again_s),
            problem=reason if failures == 1 else PULL_BACKOFF.get(reason, reason),
            problem_message=message,
        ),
    )


PULL_BACKOFF = {"ErrImagePull": "ImagePullBackOff"}
"""What Kubernetes calls the second and later failure."""


def end_reason(code: int | None, printed: str, *, is_over_memory: bool, shown: str = "") -> tuple[str, str]:
    """Why a container ended, in Kubernetes' words, and where there is more to say a sentence, or ``shown`` of an error.

    ``printed`` is the end of its output.
    """
    if is_over_memory:
        return "OOMKilled", ""
    if code is None:
        return "ContainerStatusUnknown", "an earlier runner started it: nobody saw its exit code"
    last_line = printed.rpartition("\n")[2]
    if code in CANNOT_RUN and last_line.startswith(SAID_BY_SANDBOX):
        return "ContainerCannotRun", last_line.removeprefix(SAID_BY_SANDBOX)
    return ("Completed", "") if code == 0 else ("Error", shown)


def exited(
    observed: Observed, name: str, *, code: int, reason: str, now: float, shown_at: float, message: str = ""
) -> Observed:
    """``shown_at``: the same moment in Unix seconds."""
    state = observed.of(name)
    ran_s = now - state.running_since
    crashes = 1 if ran_s >= BACKOFF_RESET_S else state.crashes + 1
    return observed.with_container(
        name,
        replace(
            state,
            phase="exited",
            crashes=crashes,
            is_started=False,
            is_ready=False,
            trials={},
            exit=Exit(code, reason, state.started_at, shown_at, message),
            not_before=now + restart_delay_s(crashes),
            stop=None,
        ),
    )


def probed(observed: Observed, container: Container, kind: ProbeKind, *, is_ok: bool) -> Observed:
    """Fold one result in; a result of a run that is over must not get here."""
    state, probe = observed.of(container.name), container.probes[kind]
    old = state.trials.get(kind, Trials())
    new = replace(
        old,
        is_running=False,
        successes=old.successes + 1 if is_ok else 0,
        failures=0 if is_ok else old.failures + 1,
        has_succeeded=old.has_succeeded or is_ok,
    )
    state = replace(state, trials={**state.trials, kind: new})
    if kind == "startup" and new.successes >= probe.success_threshold:
        state = replace(state, is_started=True, is_ready="readiness" not in container.probes)
    if kind == "readiness":
        passed, failed = new.successes >= probe.success_threshold, new.failures >= probe.failure_threshold
        state = replace(state, is_ready=passed or (state.is_ready and not failed))
    return observed.with_container(container.name, state)


def is_done(container: Container, state: ContainerState, pod: Pod) -> bool:
    """Ended, and the restart policy leaves it so."""
    if state.phase != "exited" or state.exit is None:
        return False
    is_init = container in pod.init_containers
    if state.exit.code == 0:
        return is_init or pod.restart_policy != "Always"
    return pod.restart_policy == "Never"


def is_initialized(pod: Pod, observed: Observed) -> bool:
    return all(
        is_done(item, observed.of(item.name), pod) and _succeeded(observed.of(item.name))
        for item in pod.init_containers
    )


def is_ready(pod: Pod, observed: Observed) -> bool:
    return not observed.stopping and all(
        observed.of(item.name).phase == "running" and observed.of(item.name).is_ready for item in pod.containers
    )


def final_phase(pod: Pod, observed: Observed) -> Literal["Succeeded", "Failed"] | None:
    """The phase that a Pod never leaves; None while there is something to run."""
    for item in pod.init_containers:
        state = observed.of(item.name)
        if is_done(item, state, pod) and not _succeeded(state):
            return "Failed"
    states = [(item, observed.of(item.name)) for item in pod.containers]
    if not all(is_done(item, state, pod) for item, state in states):
        return None
    return "Succeeded" if all(_succeeded(state) for _, state in states) else "Failed"


def _succeeded(state: ContainerState) -> bool:
    return state.exit is not None and state.exit.code == 0
