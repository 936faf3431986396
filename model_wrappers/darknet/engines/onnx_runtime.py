"""ONNX Runtime: one session, ``threads`` workers inside an operator, operators one after another.

Where it is the build with CUDA and there is a GPU, the network runs on that; this was not tried on one.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from model_wrappers.darknet.engines.graph import Graph, graph_of, graph_title
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import ModelFolder

log = logging.getLogger(__name__)
_QUIET = 3  # errors only: a warning per session about the machine helps nobody
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_CUDA_OPTIONS = {"use_tf32": "0"}  # ten bits of mantissa would not keep the tolerance that engines have to keep


class OnnxRuntimeEngine:
    """See ``Engine``. ``run`` may be called from several threads: a session is thread-safe."""

    name = "onnxruntime"
    version = str(onnxruntime.__version__)

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    def run(self, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        outputs: list[npt.NDArray[np.float32]] = self._session.run(None, {self._input: images})
        return outputs


def open_files(files: ModelFolder, *, threads: int) -> OnnxRuntimeEngine:
    """Load a model's graph. Raises ``EngineError`` when ONNX Runtime refuses it, or it is of other files."""
    return open_graph(graph_of(files), threads=threads)


def open_graph(graph: Graph, *, threads: int) -> OnnxRuntimeEngine:
    """Load a compiled graph. Raises ``EngineError`` when ONNX Runtime refuses it."""
    return OnnxRuntimeEngine(open_session(graph, threads=threads))


def open_session(graph: Graph, *, threads: int) -> onnxruntime.InferenceSession:
    """A session for a server: ``threads`` workers that sleep when idle. Raises ``EngineError``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _QUIET
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle replicas share the machine
    try:
        source = str(graph) if isinstance(graph, Path) else graph
        wanted = _providers()
        session = onnxruntime.InferenceSession(source, options, providers=wanted)
    except Exception as exc:  # ONNX Runtime raises a class per status code, all directly below Exception
        raise EngineError(f"{graph_title(graph)}: ONNX Runtime refuses it: {exc}") from exc
    if len(wanted) > 1 and _CUDA not in session.get_providers():
        log.warning("%s: ONNX Runtime found no GPU that it can use: it runs on the CPU", graph_title(graph))
    return session


def _providers() -> list[str | tuple[str, dict[str, Any]]]:
    """In the order in which they are tried. CUDA's libraries are Python packages beside the build that has it."""
    if _CUDA not in onnxruntime.get_available_providers():
        return [_CPU]
    onnxruntime.preload_dlls()
    return [(_CUDA, _CUDA_OPTIONS), _CPU]
