"""OpenCV's DNN module of the 4.x line. Its thread count is one for the whole process, so the last opened engine sets it."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.engines.graph import Graph, graph_of, graph_title
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import ModelFolder

MAJOR = 4


class OpenCvEngine:
    """See ``Engine``. One call at a time; images of a batch run one after another."""

    name = "opencv"
    version = str(cv2.__version__)

    def __init__(self, net: cv2.dnn.Net) -> None:
        self._net = net
        self._outputs = sorted(net.getUnconnectedOutLayersNames(), key=_layer_index)
        self._lock = threading.Lock()

    def run(self, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        rows = [self._infer(image[None]) for image in images]
        return [np.concatenate(outputs) for outputs in zip(*rows, strict=True)]

    def _infer(self, image: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        with self._lock:
            self._net.setInput(np.ascontiguousarray(image))
            return [output.astype(np.float32) for output in self._net.forward(self._outputs)]


def open_files(files: ModelFolder, *, threads: int) -> OpenCvEngine:
    """Load a model's graph. Raises ``EngineError`` when OpenCV refuses it, or it is of other files."""
    return open_graph(graph_of(files), threads=threads)


def open_graph(graph: Graph, *, threads: int) -> OpenCvEngine:
    """Load a compiled graph."""
    if int(cv2.__version__.split(".")[0]) != MAJOR:
        raise EngineError(f"engine 'opencv' is OpenCV {MAJOR}.x: found {cv2.__version__}")
    cv2.setNumThreads(threads)
    try:
        data = np.frombuffer(graph, np.uint8) if isinstance(graph, bytes) else str(graph)
        return OpenCvEngine(cv2.dnn.readNetFromONNX(data))
    except cv2.error as exc:
        raise EngineError(f"{graph_title(graph)}: OpenCV refuses it: {exc.err}") from exc


def _layer_index(output: str) -> int:
    """``yolo_94`` → 94: OpenCV lists outputs in an order of its own."""
    return int(output.rpartition("_")[2])
