"""State files: one JSON file per process, so that `down` and `status` work without a living supervisor."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slipway.onebox.supervisor.history import Phase
from slipway.onebox.supervisor.procfs import Identity

SUFFIX = ".json"


@dataclass(frozen=True)
class ProcessState:
    """What the supervisor knows of one process, as written to disk. Times are seconds since the epoch."""

    name: str
    part: str
    order: int  # position in the start order: stopping goes downwards
    phase: Phase
    identity: Identity | None
    fingerprint: str
    grace_s: float
    stop_signal: int
    ports: tuple[str, ...]
    log: str
    is_task: bool
    since: float
    ready_after_s: float | None
    restarts: int
    problem: str

    @property
    def is_alive(self) -> bool:
        return self.identity is not None and self.identity.is_alive


def write_state(folder: Path, state: ProcessState) -> None:
    """Replace the process's file in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{state.name}{SUFFIX}"
    scratch = folder / f".{state.name}.{os.getpid()}"
    scratch.write_text(json.dumps(asdict(state)))
    scratch.replace(target)


def remove_state(folder: Path, name: str) -> None:
    (folder / f"{name}{SUFFIX}").unlink(missing_ok=True)


def load_states(folder: Path) -> dict[str, ProcessState]:
    """Every state file, in start order; a file removed meanwhile is not there."""
    states = [state for path in folder.glob(f"*{SUFFIX}") if (state := _load(path)) is not None]
    return {state.name: state for state in sorted(states, key=lambda state: (state.order, state.name))}


def _load(path: Path) -> ProcessState | None:
    try:
        data: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    identity = data.pop("identity")
    return ProcessState(
        **{**data, "phase": Phase(data["phase"]), "ports": tuple(data["ports"])},
        identity=Identity(**identity) if identity else None,
    )
