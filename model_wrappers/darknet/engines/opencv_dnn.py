"""OpenCV's DNN module of the 4.x line.

OpenCV has one thread count for the whole process. It is the engine's only while the engine runs, and then what it was; what
other threads do with OpenCV in that time has the engine's count, which changes how fast it is and not what it gives.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import numpy.typing as npt

from model_wrappers.darknet.engines.graph import Graph, graph_of, graph_title
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import ModelFolder

MAJOR = 4
_THREAD_COUNT = threading.Lock()  # of the process: held by the engine whose count it is


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """OpenCV's thread count is ``threads`` within; one caller at a time."""
    with _THREAD_COUNT:
        before = cv2.getNumThreads()
        cv2.setNumThreads(threads)
        try:
            yield
        finally:
            cv2.setNumThreads(before)


class OpenCvEngine:
    """See ``Engine``. One call at a time in the whole process; images of a batch run one after another."""

    name = "opencv"
    version = str(cv2.__version__)

    def __init__(self, net: cv2.dnn.Net, threads: int) -> None:
        self._net, self._threads = net, threads
        self._outputs = sorted(net.getUnconnectedOutLayersNames(), key=_layer_index)

    def run(self, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        rows = [self._infer(image[None]) for image in images]
        return [np.concatenate(outputs) for outputs in zip(*rows, strict=True)]

    def _infer(self, image: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        with thread_count(self._threads):
            self._net.setInput(np.ascontiguousarray(image))
            return [output.astype(np.float32) for output in self._net.forward(self._outputs)]


def open_files(files: ModelFolder, *, threads: int) -> OpenCvEngine:
    """Load a model's graph. Raises ``EngineError`` when OpenCV refuses it, or it is of other files."""
    return open_graph(graph_of(files), threads=threads)


def open_graph(graph: Graph, *, threads: int) -> OpenCvEngine:
    """Load a compiled graph."""
    if int(cv2.__version__.split(".")[0]) != MAJOR:
        raise EngineError(f"engine 'opencv' is OpenCV {MAJOR}.x: found {cv2.__version__}")
    try:
        data = np.frombuffer(graph, np.uint8) if isinstance(graph, bytes) else str(graph)
        return OpenCvEngine(cv2.dnn.readNetFromONNX(data), threads)
    except cv2.error as exc:
        raise EngineError(f"{graph_title(graph)}: OpenCV refuses it: {exc.err}") from exc


def _layer_index(output: str) -> int:
    """``yolo_94`` → 94: OpenCV lists outputs in an order of its own."""
    return int(output.rpartition("_")[2])
