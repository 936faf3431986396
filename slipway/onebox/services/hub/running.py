"""What runs of an image of the hub's: one small file each, for `slipway image`, for the memory watch, for the end."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from slipway.onebox.paths import Paths

HUB_ITSELF = "_hub"
"""No user's name: those begin with a letter."""


@dataclass(frozen=True)
class Running:
    """``image`` is a digest. ``memory_bytes`` is what all processes of the server may use together; 0: no limit."""

    name: str
    image: str
    memory_bytes: int = 0


def write_running(paths: Paths, running: Running) -> None:
    """Remember it, in one step."""
    paths.hub_running.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = paths.hub_running / f"{running.name}.json"
    draft = file.with_suffix(".tmp")
    draft.write_text(json.dumps(asdict(running)) + "\n")
    draft.replace(file)


def load_running(paths: Paths) -> list[Running]:
    """All, by name. A file of a name that another program removes meanwhile is no error."""
    found = []
    for file in sorted(paths.hub_running.glob("*.json")):
        try:
            found.append(Running(**json.loads(file.read_text())))
        except FileNotFoundError:
            continue
    return found


def forget_running(paths: Paths, name: str) -> None:
    (paths.hub_running / f"{name}.json").unlink(missing_ok=True)
