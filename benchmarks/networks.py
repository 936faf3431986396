"""What the benchmarks of the Darknet library share: networks at one input size, and what they ran on."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet import ModelFolder
from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.cpu import engine_threads, machine_name
from model_wrappers.darknet.engines import open_engine
from model_wrappers.darknet.layers import Network, Yolo
from model_wrappers.darknet.random_weights import random_weights
from model_wrappers.darknet.weights import Parameters, write_weights

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("SLIPWAY_SHARED", REPOSITORY.parent / "shared")) / "data"
SIDE = 416
SEED = 1
OBJECTNESS, CLASS = -3.0, -3.0
"""Means of the logits of seeded networks: of yolov3's 10,647 boxes 10 to 70 are left, as of trained ones."""


def at_side(name: str, folder: Path) -> Path:
    """A published cfg with an input of ``SIDE`` pixels."""
    text = (SHARED_DATA / "cfg" / f"{name}.cfg").read_text()
    cfg = folder / f"{name}.cfg"
    cfg.write_text(re.sub(r"(?m)^(width|height)\s*=.*$", rf"\1={SIDE}", text))
    return cfg


def model_files(name: str, folder: Path) -> ModelFolder:
    """The published weights where there are some, else ``write_sparing_weights``: the engine's time does not depend on values."""
    cfg, weights = at_side(name, folder), SHARED_DATA / "weights" / f"{name}.weights"
    if not weights.exists():
        weights = folder / weights.name
        write_sparing_weights(weights, cfg)
    return ModelFolder(cfg, weights, Path("unused"))


def write_sparing_weights(file: Path, cfg: Path) -> None:
    """Seeded random ones that see some dozens of boxes in a photo, as trained ones do: of thousands, NMS and JSON would be the work.

    Random values grow from layer to layer. What the heads give for noise tells by how much each of their channels is
    divided, so that its logits have the mean and deviation that are asked for.
    """
    network = load_network(cfg)
    weights = random_weights(network, SEED)
    write_weights(file, network, weights)
    noise = np.random.default_rng(SEED).integers(0, 256, (1, *_input_shape(network)), np.uint8)
    outputs = open_engine("onnxruntime", ModelFolder(cfg, file, Path("unused")), threads=engine_threads()).run(noise)
    for layer, output in zip(network.heads, outputs, strict=True):
        if isinstance(layer.op, Yolo):
            _settle(weights.parameters[layer.inputs[0]], output[0], len(layer.op.anchors))
    write_weights(file, network, weights)


def _settle(head: Parameters, output: npt.NDArray[np.float32], anchors: int) -> None:
    """Change the biases and kernels that gave ``output`` [channels, rows, columns]."""
    wanted = np.tile([0.0] * 4 + [OBJECTNESS] + [CLASS] * (len(output) // anchors - 5), anchors)
    mean, deviation = output.mean(axis=(1, 2)), output.std(axis=(1, 2))
    head.kernels[:] /= deviation[:, None, None, None]
    head.biases[:] = (head.biases - mean) / deviation + wanted


def _input_shape(network: Network) -> tuple[int, int, int]:
    return network.input.height, network.input.width, network.input.channels


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
