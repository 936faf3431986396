"""Engines: what runs a network. Each is a module with ``open_files``; adding one is one row of ``_MODULES``."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.engines.libdarknet import library_path
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import ModelFolder

_MODULES = {
    "onnxruntime": "model_wrappers.darknet.engines.onnx_runtime",
    "openvino": "model_wrappers.darknet.engines.open_vino",
    "opencv": "model_wrappers.darknet.engines.opencv_dnn",
    "darknet": "model_wrappers.darknet.engines.libdarknet",
    "onnxruntime-int8": "model_wrappers.darknet.engines.onnx_runtime_int8",
}
_NEEDS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "opencv": "cv2"}
INT8_ENGINE = "onnxruntime-int8"  # outside the tolerance by design: only where somebody asked for it
ENGINES = tuple(name for name in _MODULES if name != INT8_ENGINE)  # those that must compute what Darknet does
AUTO = "auto"  # the fastest of those that the model folder's record names and that open here
DEFAULT_ENGINE = "onnxruntime"  # where no record was made


class Engine(Protocol):
    """A loaded network. ``version`` is that of the program behind it."""

    name: str
    version: str

    def run(self, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        """uint8 [N, H, W, 3] → one float32 [N, channels, rows, columns] per head, before any logistic."""


class GuardedEngine:
    """An engine whose every failure is an ``EngineError`` that names it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.version = engine.name, engine.version

    def run(self, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        try:
            return self._engine.run(images)
        except EngineError:
            raise
        except Exception as exc:  # each program raises classes of its own; ONNX Runtime's lie directly below Exception
            raise EngineError(f"engine '{self.name}' failed: {type(exc).__name__}: {exc}") from exc


def installed_engines() -> tuple[str, ...]:
    """Those of ``ENGINES`` whose program is on this machine."""
    return tuple(name for name in ENGINES if _is_installed(name))


def _is_installed(name: str) -> bool:
    return library_path() is not None if name == "darknet" else find_spec(_NEEDS[name]) is not None


def open_engine(name: str, files: ModelFolder, *, threads: int) -> Engine:
    """Load a model in one engine. Raises ``EngineError`` if the engine is unusable or refuses the model."""
    if name not in _MODULES:
        raise EngineError(f"engine '{name}' is not one of {', '.join((AUTO, *_MODULES))}")
    try:
        module = import_module(_MODULES[name])
    except ModuleNotFoundError as exc:
        raise EngineError(f"engine '{name}' is not installed: {exc.name} is missing") from exc
    except ImportError as exc:  # it is there, but a shared library of it is not
        raise EngineError(f"engine '{name}' cannot be imported: {exc}") from exc
    engine: Engine = module.open_files(files, threads=threads)
    return GuardedEngine(engine)
