"""The compiled graph of a model: the folder's own, if it is of these files, else made now."""

from __future__ import annotations

from pathlib import Path

from model_wrappers.darknet.check import compile_onnx
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import INT8_NAME, ModelFolder
from model_wrappers.darknet.provenance import CFG_KEY, WEIGHTS_KEY, file_sha256, graph_metadata

Graph = bytes | Path

PRECISION_KEY = "darknet.precision"  # of a graph's metadata; float32 where it is not there
INT8 = "int8"


def graph_of(files: ModelFolder) -> Graph:
    """ONNX in float32 as bytes, or the path of a file. Raises ``EngineError`` when the folder's graph is another one."""
    if files.onnx_path is None:
        return compile_onnx(files.cfg_path, files.weights_path)
    if _check_made_of(files.onnx_path, files) == INT8:
        raise EngineError(
            f"{files.onnx_path}: is in 8 bits: a float32 graph is expected (as {INT8_NAME} engine 'onnxruntime-int8' runs it)"
        )
    return files.onnx_path


def int8_graph_of(files: ModelFolder) -> Path:
    """The folder's graph in 8 bits. Raises ``EngineError`` when there is none, or it is of other files."""
    if files.int8_path is None:
        raise EngineError(f"{files.cfg_path.parent}: engine 'onnxruntime-int8' runs {INT8_NAME}, and there is none")
    if _check_made_of(files.int8_path, files) != INT8:
        raise EngineError(f"{files.int8_path}: is not in 8 bits: `convert --int8` makes such a graph")
    return files.int8_path


def _check_made_of(path: Path, files: ModelFolder) -> str:
    """The precision of a graph that was made of the folder's own cfg and weights."""
    metadata = graph_metadata(path)
    for key, source in ((CFG_KEY, files.cfg_path), (WEIGHTS_KEY, files.weights_path)):
        found, expected = metadata.get(key, "nothing"), file_sha256(source)
        if found != expected:
            raise EngineError(f"{path}: made of {key} {found}, but {source} is {expected}: compile it again")
    return metadata.get(PRECISION_KEY, "")


def graph_title(graph: Graph) -> str:
    """How an error names the graph."""
    return str(graph) if isinstance(graph, Path) else "compiled graph"
