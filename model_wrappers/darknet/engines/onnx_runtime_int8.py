"""ONNX Runtime on a model folder's graph in 8 bits: other answers than Darknet's, on some machines much faster."""

from __future__ import annotations

from model_wrappers.darknet.engines.graph import int8_graph_of
from model_wrappers.darknet.engines.onnx_runtime import OnnxRuntimeEngine, open_session
from model_wrappers.darknet.folder import ModelFolder


class Int8Engine(OnnxRuntimeEngine):
    """See ``OnnxRuntimeEngine``."""

    name = "onnxruntime-int8"


def open_files(files: ModelFolder, *, threads: int) -> Int8Engine:
    """Load the folder's graph in 8 bits. Raises ``EngineError`` where it has none, or one of other files."""
    return Int8Engine(open_session(int8_graph_of(files), threads=threads))
