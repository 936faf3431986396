"""Engines: what runs a network. Each is a module with ``open_files``; adding one is one row of ``_PROGRAMS``."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.engines.libdarknet import library_path
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import ModelFolder


class _Program(NamedTuple):
    """``module`` has ``open_files``; ``package`` is what it imports, empty where it is no Python package."""

    module: str
    package: str


_PROGRAMS = {
    "onnxruntime": _Program("model_wrappers.darknet.engines.onnx_runtime", "onnxruntime"),
    "openvino": _Program("model_wrappers.darknet.engines.open_vino", "openvino"),
    "opencv": _Program("model_wrappers.darknet.engines.opencv_dnn", "cv2"),
    "darknet": _Program("model_wrappers.darknet.engines.libdarknet", ""),
    "onnxruntime-int8": _Program("model_wrappers.darknet.engines.onnx_runtime_int8", "onnxruntime"),
}
INT8_ENGINE = "onnxruntime-int8"  # outside the tolerance by design: only where somebody asked for it
ENGINES = tuple(name for name in _PROGRAMS if name != INT8_ENGINE)  # those that must compute what Darknet does
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
    package = _PROGRAMS[name].package
    return find_spec(package) is not None if package else library_path() is not None


def open_engine(name: str, files: ModelFolder, *, threads: int) -> Engine:
    """Load a model in one engine. Raises ``EngineError`` if the engine is unusable or refuses the model."""
    if name not in _PROGRAMS:
        raise EngineError(f"engine '{name}' is not one of {', '.join((AUTO, *_PROGRAMS))}")
    try:
        module = import_module(_PROGRAMS[name].module)
    except ModuleNotFoundError as exc:
        raise EngineError(f"engine '{name}' is not installed: {exc.name} is missing") from exc
    except ImportError as exc:  # it is there, but a shared library of it is not
        raise EngineError(f"engine '{name}' cannot be imported: {exc}") from exc
    engine: Engine = module.open_files(files, threads=threads)
    return GuardedEngine(engine)
