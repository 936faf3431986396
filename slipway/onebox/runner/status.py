"""What is known of a Pod → ``status`` of its object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slipway.onebox.runner.moments import time_text
from slipway.onebox.runner.observed import (
    ContainerState,
    Exit,
    Observed,
    final_phase,
    is_done,
    is_initialized,
    is_ready,
    restart_delay_s,
)
from slipway.onebox.runner.references import HOST_IP
from slipway.onebox.runner.spec import Container, Pod


@dataclass(frozen=True)
class Facts:
    """What the status shows besides the containers' states. ``digests``: container → image digest."""

    ip: str = ""
    start_time: float | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    pids: Mapping[str, int] = field(default_factory=dict)


def render_status(
    pod: Pod, observed: Observed, facts: Facts, *, previous: Mapping[str, Any], now: float
) -> dict[str, Any]:
    """``previous`` is the last status: a condition that did not change keeps its transition time."""
    status: dict[str, Any] = {
        "phase": _phase(pod, observed),
        "conditions": _conditions(pod, observed, previous.get("conditions") or (), now),
        "hostIP": HOST_IP,
        "containerStatuses": [_container(item, pod, observed, facts) for item in pod.containers],
        "qosClass": "Burstable" if any(item.resources.raw for item in pod.containers) else "BestEffort",
        "reason": observed.problem or None,
        "message": observed.problem_message or None,
    }
    if pod.init_containers:
        status["initContainerStatuses"] = [_container(item, pod, observed, facts) for item in pod.init_containers]
    if facts.ip:
        status |= {"podIP": facts.ip, "podIPs": [{"ip": facts.ip}]}
    if facts.start_time is not None:
        status["startTime"] = time_text(facts.start_time)
    return status


def _phase(pod: Pod, observed: Observed) -> str:
    final = None if observed.stopping else final_phase(pod, observed)
    if final is not None:
        return final
    has_run = any(observed.of(item.name).exit or observed.of(item.name).phase == "running" for item in pod.containers)
    return "Running" if has_run and is_initialized(pod, observed) else "Pending"


def _conditions(
    pod: Pod, observed: Observed, previous: Sequence[Mapping[str, Any]], now: float
) -> list[dict[str, Any]]:
    ready = is_ready(pod, observed)
    unready = [item.name for item in pod.containers if not observed.of(item.name).is_ready]
    why = f"containers with unready status: [{' '.join(unready)}]" if unready else observed.stopping
    finished = final_phase(pod, observed) == "Succeeded"
    reason = "PodCompleted" if finished else "ContainersNotReady"
    initialized = is_initialized(pod, observed)
    table: list[tuple[str, bool, str, str]] = [
        ("PodReadyToStartContainers", observed.preparation == "done", "", ""),
        ("Initialized", initialized, "ContainersNotInitialized", "init containers have not completed"),
        ("Ready", ready and not pod.readiness_gates, reason, why),
        ("ContainersReady", ready, reason, why),
        ("PodScheduled", True, "", ""),
    ]
    old = {item["type"]: item for item in previous}
    conditions = []
    for kind, holds, false_reason, message in table:
        value = "True" if holds else "False"
        was = old.get(kind, {})
        since = was["lastTransitionTime"] if was.get("status") == value else time_text(now)
        condition = {"type": kind, "status": value, "lastProbeTime": None, "lastTransitionTime": since}
        if not holds and false_reason:
            condition |= {"reason": false_reason, "message": message}
        conditions.append(condition)
    return conditions


def _container(container: Container, pod: Pod, observed: Observed, facts: Facts) -> dict[str, Any]:
    state = observed.of(container.name)
    is_init = container in pod.init_containers
    now_state = _state(container, state, pod, observed)
    shown: dict[str, Any] = {
        "name": container.name,
        "image": container.image,
        "imageID": facts.digests.get(container.name, ""),
        "restartCount": state.restarts,
        "ready": _succeeded(state) if is_init else state.phase == "running" and state.is_ready,
        "started": state.phase == "running" and state.is_started,
        "state": now_state,
        "lastState": {"terminated": _terminated(state.exit)} if state.exit and "terminated" not in now_state else {},
    }
    if container.name in facts.pids and state.is_alive:
        shown["containerID"] = f"process://{facts.pids[container.name]}"
    return shown


def _state(container: Container, state: ContainerState, pod: Pod, observed: Observed) -> dict[str, Any]:
    if state.phase == "running":
        return {"running": {"startedAt": time_text(state.started_at)}}
    if state.problem:
        return {"waiting": {"reason": state.problem, "message": state.problem_message}}
    if state.phase == "exited" and state.exit is not None:
        delay_s = restart_delay_s(state.crashes)
        if delay_s == 0 or observed.stopping or is_done(container, state, pod):
            return {"terminated": _terminated(state.exit)}
        message = f"back-off {delay_s:.0f}s restarting failed container={container.name} pod={pod.name}_{pod.namespace}({pod.uid})"
        return {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    if observed.problem:
        return {"waiting": {"reason": "ContainerCreating", "message": observed.problem_message}}
    waits = pod.init_containers and container in pod.containers and not is_initialized(pod, observed)
    return {"waiting": {"reason": "PodInitializing" if waits else "ContainerCreating"}}


def _terminated(end: Exit) -> dict[str, Any]:
    shown = {
        "exitCode": end.code,
        "reason": end.reason,
        "startedAt": time_text(end.started_at),
        "finishedAt": time_text(end.finished_at),
    }
    return {**shown, "message": end.message} if end.message else shown


def _succeeded(state: ContainerState) -> bool:
    return state.phase == "exited" and state.exit is not None and state.exit.code == 0
