"""The compiled graph of a model: the folder's own, if it is of these files, else made now."""

from __future__ import annotations

from pathlib import Path

from model_wrappers.darknet.check import compile_onnx
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import ModelFolder
from model_wrappers.darknet.provenance import CFG_KEY, WEIGHTS_KEY, file_sha256, graph_metadata

Graph = bytes | Path


def graph_of(files: ModelFolder) -> Graph:
    """ONNX as bytes, or the path of a file. Raises ``EngineError`` when the folder's graph is of other files."""
    if files.onnx_path is None:
        return compile_onnx(files.cfg_path, files.weights_path)
    metadata = graph_metadata(files.onnx_path)
    for key, path in ((CFG_KEY, files.cfg_path), (WEIGHTS_KEY, files.weights_path)):
        found, expected = metadata.get(key, "nothing"), file_sha256(path)
        if found != expected:
            raise EngineError(f"{files.onnx_path}: made of {key} {found}, but {path} is {expected}: compile it again")
    return files.onnx_path


def graph_title(graph: Graph) -> str:
    """How an error names the graph."""
    return str(graph) if isinstance(graph, Path) else "compiled graph"
