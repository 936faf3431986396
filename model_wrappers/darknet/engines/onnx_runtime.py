"""ONNX Runtime on the CPU: one session, ``threads`` workers inside an operator, operators one after another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from model_wrappers.darknet.engines.graph import Graph, graph_of, graph_title
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import ModelFolder

_QUIET = 3  # errors only: a warning per session about the machine helps nobody


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
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # ONNX Runtime raises a class per status code, all directly below Exception
        raise EngineError(f"{graph_title(graph)}: ONNX Runtime refuses it: {exc}") from exc
