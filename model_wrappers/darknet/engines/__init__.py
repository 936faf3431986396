"""Engines: what runs the compiled graph. Each is a module with ``open_graph``; adding one is one row of ``_MODULES``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.errors import EngineError

_MODULES = {"onnxruntime": "model_wrappers.darknet.engines.onnx_runtime"}
ENGINES = tuple(sorted(_MODULES))
DEFAULT_ENGINE = "onnxruntime"


class Engine(Protocol):
    """A loaded network. ``metadata`` is what the compiler wrote into the graph."""

    name: str
    metadata: Mapping[str, str]

    def run(self, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        """uint8 [N, H, W, 3] → one float32 [N, channels, rows, columns] per output of the graph."""


def open_engine(name: str, graph: bytes | Path, *, threads: int) -> Engine:
    """Load a compiled graph (its bytes, or the path of a file). Raises ``EngineError`` if the engine or graph is unusable."""
    if name not in _MODULES:
        raise EngineError(f"engine '{name}' is not one of {', '.join(ENGINES)}")
    try:
        module = import_module(_MODULES[name])
    except ModuleNotFoundError as exc:
        raise EngineError(f"engine '{name}' is not installed: {exc.name} is missing") from exc
    engine: Engine = module.open_graph(graph, threads=threads)
    return engine
