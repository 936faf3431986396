"""``next_actions(desired, observed, now)``: the next steps of one Pod, beside a kubelet's.

``now`` is ``boot_time``'s. Pure: the same arguments give the same steps, in the order of the Pod's containers. ``begun`` says what is known once a
step has been taken, so that asking again gives no step twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import assert_never

from slipway.onebox.runner.observed import (
    ContainerState,
    Observed,
    Stop,
    Trials,
    final_phase,
    is_done,
    is_initialized,
)
from slipway.onebox.runner.spec import Container, Pod, Probe, ProbeKind

FAST_PERIOD_S = 0.25
"""Until a probe first succeeds it is tried this often: readiness is seen when it happens, not up to a period later."""
FAST_FOR_S = 120.0
"""After this long without a success the probe's own period holds."""
DRAIN_S = 0.5
"""Between taking a Pod out of its Services and TERM: the Envoys have the new endpoints by then."""


@dataclass(frozen=True)
class Prepare:
    reason: str = "new Pod"


@dataclass(frozen=True)
class Start:
    container: str
    reason: str


@dataclass(frozen=True)
class RunProbe:
    container: str
    kind: ProbeKind
    reason: str = "due"


@dataclass(frozen=True)
class Drain:
    reason: str


@dataclass(frozen=True)
class StopContainer:
    """preStop, TERM; KILL follows ``grace_s`` later."""

    container: str
    grace_s: float
    reason: str


@dataclass(frozen=True)
class Kill:
    container: str
    reason: str


@dataclass(frozen=True)
class Finish:
    """Nothing runs any more: the Pod can be forgotten."""

    reason: str


Action = Prepare | Start | RunProbe | Drain | StopContainer | Kill | Finish


def next_actions(pod: Pod, observed: Observed, now: float) -> list[Action]:
    if observed.is_finished:
        return []
    if observed.stopping:
        return _stop_all(pod, observed, now)
    if observed.preparation != "done":
        is_due = observed.preparation == "missing" and now >= observed.prepare_not_before
        return [Prepare(observed.problem or "new Pod")] if is_due else []
    phase = final_phase(pod, observed)
    if phase is not None:  # a failed init container ends the Pod; nothing else runs by then
        return [StopContainer(name, pod.grace_s, f"the Pod has {phase.lower()}") for name in _unstopped(observed)] + [
            *_kills(observed, now)
        ]
    return [
        *_kills(observed, now),
        *_starts(pod, observed, now),
        *_probes(pod, observed, now),
        *_unhealthy(pod, observed, now),
    ]


def next_due(pod: Pod, observed: Observed, now: float) -> float:
    """When ``next_actions`` may next give something without any event; infinity where only an event can."""
    times = [state.stop.kill_at for state in observed.containers.values() if state.stop and not state.stop.is_killed]
    if observed.stopping:
        until = observed.drain_until
        return min([*times, *([until] if until is not None and until > now else [])], default=math.inf)
    if observed.preparation != "done":
        return observed.prepare_not_before if observed.preparation == "missing" else math.inf
    for container in (*pod.init_containers, *pod.containers):
        state = observed.of(container.name)
        if state.phase in ("waiting", "exited") and not is_done(container, state, pod):
            times.append(state.not_before)
        times += [due for kind, probe in container.probes.items() if (due := _due(kind, probe, state)) is not None]
    return min((time for time in times if time > now), default=math.inf)


def begun(observed: Observed, action: Action, now: float) -> Observed:  # noqa: PLR0911  - one per action
    """What is known as soon as ``action`` has been handed to the machine."""
    match action:
        case Prepare():
            return replace(observed, preparation="running")
        case Start():
            state = observed.of(action.container)
            restarts = state.restarts + (1 if state.phase == "exited" else 0)
            return observed.with_container(action.container, replace(state, phase="starting", restarts=restarts))
        case RunProbe():
            state = observed.of(action.container)
            trials = replace(state.trials.get(action.kind, Trials()), is_running=True, last_at=now)
            return observed.with_container(
                action.container, replace(state, trials={**state.trials, action.kind: trials})
            )
        case Drain():
            return replace(observed, drain_until=now + DRAIN_S)
        case StopContainer():
            from_now = Stop(action.reason, now + action.grace_s)
            return observed.with_container(
                action.container, replace(observed.of(action.container), stop=from_now, is_ready=False)
            )
        case Kill():
            state = observed.of(action.container)
            stop = replace(state.stop or Stop(action.reason, now), is_killed=True)
            return observed.with_container(action.container, replace(state, stop=stop))
        case Finish():
            return replace(observed, is_finished=True)
        case _:
            assert_never(action)


def _stop_all(pod: Pod, observed: Observed, now: float) -> list[Action]:
    alive = observed.alive
    if not alive:
        return [] if observed.preparation == "running" else [Finish(observed.stopping)]
    if pod.grace_s > 0:  # without any grace nobody waits for the last requests
        if observed.drain_until is None:
            return [Drain(observed.stopping)]
        if now < observed.drain_until:
            return []
    stops = [StopContainer(name, pod.grace_s, observed.stopping) for name in _unstopped(observed)]
    return [*stops, *_kills(observed, now)]


def _unstopped(observed: Observed) -> list[str]:
    """A container that is just starting is stopped once its start is known."""
    return [name for name, state in observed.containers.items() if state.phase == "running" and state.stop is None]


def _kills(observed: Observed, now: float) -> Iterator[Action]:
    for name, state in observed.containers.items():
        if state.phase == "running" and state.stop and not state.stop.is_killed and now >= state.stop.kill_at:
            yield Kill(name, "did not end within its grace period")


def _starts(pod: Pod, observed: Observed, now: float) -> Iterator[Action]:
    """Init containers one after the other; then all containers."""
    if not is_initialized(pod, observed):
        for container in pod.init_containers:
            state = observed.of(container.name)
            if not is_done(container, state, pod):
                yield from _start(container, state, now)
                return
    for container in pod.containers:
        state = observed.of(container.name)
        if not is_done(container, state, pod):
            yield from _start(container, state, now)


def _start(container: Container, state: ContainerState, now: float) -> Iterator[Action]:
    if state.phase == "waiting" and now >= state.not_before:
        yield Start(container.name, state.problem or "missing")
    if state.phase == "exited" and state.exit is not None and now >= state.not_before:
        yield Start(container.name, f"ended with {state.exit.code}")


def _probes(pod: Pod, observed: Observed, now: float) -> Iterator[Action]:
    for container in pod.containers:
        state = observed.of(container.name)
        for kind, probe in container.probes.items():
            due = _due(kind, probe, state)
            if due is not None and now >= due:
                yield RunProbe(container.name, kind)


def _due(kind: ProbeKind, probe: Probe, state: ContainerState) -> float | None:
    """When the probe runs next; None while it does not apply: not running, stopping, or waiting for start-up."""
    if state.phase != "running" or state.stop is not None or state.is_started == (kind == "startup"):
        return None
    trials = state.trials.get(kind, Trials())
    if trials.is_running:
        return None
    first = state.running_since + probe.initial_delay_s
    if trials.last_at is None:
        return first
    is_fast = kind != "liveness" and not trials.has_succeeded and trials.last_at < first + FAST_FOR_S
    return trials.last_at + (min(FAST_PERIOD_S, probe.period_s) if is_fast else probe.period_s)


def _unhealthy(pod: Pod, observed: Observed, now: float) -> Iterator[Action]:
    for container in pod.containers:
        state = observed.of(container.name)
        if state.phase != "running" or state.stop is not None:
            continue
        for kind, probe in container.probes.items():
            if kind != "readiness" and _has_failed(kind, probe, state, now):
                yield StopContainer(container.name, pod.grace_s, f"failed its {kind} probe")
                break


def _has_failed(kind: ProbeKind, probe: Probe, state: ContainerState, now: float) -> bool:
    """A start-up probe is tried faster than declared, so its allowance is counted in time, not in trials."""
    trials = state.trials.get(kind, Trials())
    if kind == "startup":
        allowed_s = probe.initial_delay_s + probe.period_s * probe.failure_threshold
        return not state.is_started and trials.failures > 0 and now >= state.running_since + allowed_s
    return trials.failures >= probe.failure_threshold
