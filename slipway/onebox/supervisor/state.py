"""State files: one JSON file per process, so that `down` and `status` work without a living supervisor.

A power cut may leave anything in them: one that cannot be read is told once and taken for none.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from slipway.onebox.supervisor.history import Phase
from slipway.onebox.supervisor.procfs import Identity

SUFFIX = ".json"
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, IsADirectoryError)
"""What reading a cut, an empty or a foreign file raises."""
MAX_TOLD = 64
log = logging.getLogger(__name__)


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
    """Replace the process's file in one step. Not synced: what it says is void once the machine has stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{state.name}{SUFFIX}"
    scratch = folder / f".{state.name}.{os.getpid()}"
    scratch.write_text(json.dumps(asdict(state)))
    scratch.replace(target)


def remove_state(folder: Path, name: str) -> None:
    (folder / f"{name}{SUFFIX}").unlink(missing_ok=True)


def load_states(folder: Path) -> dict[str, ProcessState]:
    """Every state file that can be read, in start order; a file removed meanwhile is not there."""
    states = [state for path in folder.glob(f"*{SUFFIX}") if (state := _load(path)) is not None]
    return {state.name: state for state in sorted(states, key=lambda state: (state.order, state.name))}


def _load(path: Path) -> ProcessState | None:
    try:
        return _parse(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        tell_unreadable(path, repr(error), "its process counts as not started: slipway up writes it anew")
        return None


def _parse(data: Mapping[str, Any]) -> ProcessState:
    """Fields of other releases are left out."""
    known = {item.name: data[item.name] for item in fields(ProcessState)}
    identity = data["identity"] and parse_identity(data["identity"])
    return ProcessState(**{**known, "phase": Phase(data["phase"]), "ports": tuple(data["ports"]), "identity": identity})


def parse_identity(data: Mapping[str, Any]) -> Identity:
    """Raises one of UNREADABLE."""
    return Identity(int(data["pid"]), int(data["start_ticks"]), str(data["boot"]))


@lru_cache(maxsize=MAX_TOLD)
def tell_unreadable(path: Path, why: str, what_follows: str) -> None:
    """Once in a process: these files are read several times a second."""
    log.warning("%s: cannot be read (%s): %s", path, why, what_follows)
