"""What a Pod's status says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_STARTING = ("PodInitializing", "ContainerCreating")


@dataclass(frozen=True)
class Trouble:
    """Why a Pod is not ready. ``waits``: its container waits for a restart or its image, it does not just end."""

    reason: str
    message: str
    waits: bool = False


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether its condition ``Ready`` is true."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def trouble_of(pods: Sequence[Mapping[str, Any]]) -> Trouble | None:
    """Of the first container that waits to start or has not been ready since it failed, else of a Pod without a place."""
    found = (_trouble(container) for pod in pods for container in _container_statuses(pod))
    return next(filter(None, found), None) or next(filter(None, map(_unscheduled, pods)), None)


def _container_statuses(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _trouble(container: Mapping[str, Any]) -> Trouble | None:
    state = container.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    last = (container.get("lastState") or {}).get("terminated") or {}
    if waiting.get("reason") not in (None, *_STARTING):
        reason, message, waits = str(waiting["reason"]), last.get("message") or waiting.get("message"), True
    elif ended.get("exitCode"):
        reason, message, waits = str(ended.get("reason") or "Error"), ended.get("message"), False
    elif last.get("exitCode") and not container.get(
        "ready"
    ):  # it runs once more, and why it ended is all that is known
        reason, message, waits = str(last.get("reason") or "Error"), last.get("message"), False
    else:
        return None
    return Trouble(reason, f"{container.get('name')}: {message or ''}".strip(), waits=waits)


def _unscheduled(pod: Mapping[str, Any]) -> Trouble | None:
    for item in (pod.get("status") or {}).get("conditions") or ():
        if (item.get("type"), item.get("status")) == ("PodScheduled", "False"):
            return Trouble(item.get("reason") or "Unschedulable", item.get("message") or "")
    return None
