"""What should run, as the command line last said: a file that the supervisor reads at start and at each HUP."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from slipway.onebox.paths import Paths


def _file(paths: Paths) -> Path:
    return paths.run / "wanted"


def load_wanted(paths: Paths) -> frozenset[str]:
    """Names of processes; empty when nobody has asked for anything yet."""
    try:
        return frozenset(json.loads(_file(paths).read_text()))
    except FileNotFoundError:
        return frozenset()


def save_wanted(paths: Paths, names: Collection[str]) -> None:
    paths.run.mkdir(parents=True, exist_ok=True)
    scratch = _file(paths).with_suffix(".tmp")
    scratch.write_text(json.dumps(sorted(names)))
    scratch.replace(_file(paths))
