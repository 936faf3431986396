"""OpenVINO on the CPU, in float32: on machines with bfloat16 units it would otherwise round where nobody asked."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import openvino

from model_wrappers.darknet.engines.graph import Graph, graph_of, graph_title
from model_wrappers.darknet.errors import EngineError
from model_wrappers.darknet.folder import ModelFolder


class OpenVinoEngine:
    """See ``Engine``. Each thread has an inference request of its own; images of a batch run one after another."""

    name = "openvino"
    version = str(openvino.__version__)

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._compiled = compiled
        self._requests = threading.local()

    def run(self, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        rows = [self._infer(image[None]) for image in images]
        return [np.concatenate(outputs) for outputs in zip(*rows, strict=True)]

    def _infer(self, image: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        request = getattr(self._requests, "request", None)
        if request is None:
            request = self._requests.request = self._compiled.create_infer_request()
        request.infer([image])
        return [request.get_output_tensor(place).data.copy() for place in range(len(self._compiled.outputs))]


def open_files(files: ModelFolder, *, threads: int) -> OpenVinoEngine:
    """Load a model's graph. Raises ``EngineError`` when OpenVINO refuses it, or it is of other files."""
    return open_graph(graph_of(files), threads=threads)


def open_graph(graph: Graph, *, threads: int) -> OpenVinoEngine:
    """Load a compiled graph, for one image at a time."""
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    try:
        model = openvino.Core().read_model(graph)
        _, *picture = model.inputs[0].partial_shape
        model.reshape(openvino.PartialShape([1, *picture]))
        return OpenVinoEngine(openvino.Core().compile_model(model, "CPU", settings))
    except RuntimeError as exc:
        raise EngineError(f"{graph_title(graph)}: OpenVINO refuses it: {exc}") from exc
