"""What the benchmarks of the Darknet library share: networks at one input size, and what they ran on."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from model_wrappers.darknet import ModelFolder
from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.cpu import machine_name
from model_wrappers.darknet.random_weights import random_weights
from model_wrappers.darknet.weights import write_weights

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("SLIPWAY_SHARED", REPOSITORY.parent / "shared")) / "data"
SIDE = 416
SEED = 1


def at_side(name: str, folder: Path) -> Path:
    """A published cfg with an input of ``SIDE`` pixels."""
    text = (SHARED_DATA / "cfg" / f"{name}.cfg").read_text()
    cfg = folder / f"{name}.cfg"
    cfg.write_text(re.sub(r"(?m)^(width|height)\s*=.*$", rf"\1={SIDE}", text))
    return cfg


def model_files(name: str, folder: Path) -> ModelFolder:
    """The published weights where there are some, else seeded random ones: time does not depend on their values."""
    cfg, weights = at_side(name, folder), SHARED_DATA / "weights" / f"{name}.weights"
    if not weights.exists():
        weights = folder / weights.name
        network = load_network(cfg)
        write_weights(weights, network, random_weights(network, SEED))
    return ModelFolder(cfg, weights, Path("unused"))


def machine(threads: int) -> dict[str, Any]:
    """``load`` is that of the last minute; a commit that ends in + has changes that are not in it."""
    return {
        "cpu": machine_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load": load(),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "-uno") else ""),
    }


def load() -> float:
    return round(os.getloadavg()[0], 1)


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()
