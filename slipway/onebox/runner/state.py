"""One Pod's state file: what a new runner needs to adopt its containers, or to start them again as they were."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from slipway.onebox.runner.observed import ContainerState, Exit, Observed
from slipway.onebox.runner.process import Identity
from slipway.onebox.runner.spec import InvalidPod

STATE_FILE = "state.json"
IMAGE_DIGESTS = "slipway.dev/image-digests"
"""Annotation of a Pod: container → digest, as a JSON object."""
KEPT_FIELDS = ("phase", "restarts", "crashes", "started_at", "is_started", "is_ready")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PodState:
    """``images``: container → digest, chosen once. ``processes``: containers that were alive when it was written."""

    namespace: str
    name: str
    uid: str
    ip: str = ""
    start_time: float | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    containers: Mapping[str, ContainerState] = field(default_factory=dict)
    processes: Mapping[str, Identity] = field(default_factory=dict)
    boot: str = ""


class StateFile:
    """Written only where what is kept has changed: probes come several times a second and change nothing of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[str, Any] = {}

    def write(self, state: PodState) -> None:
        content = _dump(state)
        if content == self._written:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._folder / f".{STATE_FILE}"
        draft.write_text(json.dumps(content, indent=1))
        draft.replace(self._folder / STATE_FILE)
        self._written = content


def read_state(folder: Path) -> PodState | None:
    """None where there is none, or the machine stopped while it was written."""
    try:
        return _load(json.loads((folder / STATE_FILE).read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as exc:
        log.warning("%s: cannot be read (%s): the Pod starts anew", folder / STATE_FILE, exc)
        return None


def restored(state: PodState) -> Observed:
    """What a new runner knows before it has looked for processes. A start that was under way has not happened."""
    containers = {
        name: replace(item, phase="waiting", not_before=0.0) if item.phase == "starting" else item
        for name, item in state.containers.items()
    }
    return Observed(containers=containers)


def pinned_digests(obj: Mapping[str, Any]) -> dict[str, str]:
    """What an earlier runner chose, where its state file is lost. Raises InvalidPod."""
    text = (obj["metadata"].get("annotations") or {}).get(IMAGE_DIGESTS)
    try:
        return {str(key): str(value) for key, value in json.loads(text or "{}").items()}
    except (ValueError, AttributeError) as exc:
        raise InvalidPod(f"annotation {IMAGE_DIGESTS}: {text!r} is not a JSON object of container and digest") from exc


def _dump(state: PodState) -> dict[str, Any]:
    containers = {
        name: {key: getattr(item, key) for key in KEPT_FIELDS} | {"exit": asdict(item.exit) if item.exit else None}
        for name, item in state.containers.items()
    }
    return {**asdict(replace(state, containers={})), "containers": containers, "written_by": os.getpid()}


def _load(loaded: dict[str, Any]) -> PodState:
    containers = {
        name: ContainerState(**{**item, "exit": Exit(**item["exit"]) if item["exit"] else None})
        for name, item in loaded["containers"].items()
    }
    return PodState(
        namespace=loaded["namespace"],
        name=loaded["name"],
        uid=loaded["uid"],
        ip=loaded["ip"],
        start_time=loaded["start_time"],
        images=loaded["images"],
        containers=containers,
        processes={name: Identity(**item) for name, item in loaded["processes"].items()},
        boot=loaded["boot"],
    )
