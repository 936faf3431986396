"""The machine's rate in float32 matrix products, by every library at hand: what an engine's convolutions are measured by.

A yardstick that is too short flatters: so squares of several sizes, and the products that a network's own convolutions are
(filters x kernel values by kernel values x cells), each in numpy's BLAS, ONNX Runtime and OpenVINO; the best one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime

from model_wrappers.darknet.layers import Convolutional, Network
from model_wrappers.darknet.weights import kernel_shape

SQUARES = (384, 512, 768, 1024, 2048)
MIN_GFLOP = 0.1  # of a layer's product; smaller ones are over before they are at speed

Run = Callable[[], Any]


class Product(NamedTuple):
    """[rows, inner] x [inner, columns]."""

    rows: int
    inner: int
    columns: int

    @property
    def gflop(self) -> float:
        return 2e-9 * self.rows * self.inner * self.columns

    def __str__(self) -> str:
        return f"{self.rows} x {self.inner} x {self.columns}"


def products(network: Network) -> list[Product]:
    """The squares, and each different one of the network's convolutions that is not tiny."""
    layers = {_product(network, layer) for layer in network.layers if isinstance(layer.op, Convolutional)}
    return [Product(side, side, side) for side in SQUARES] + sorted(one for one in layers if one.gflop >= MIN_GFLOP)


def convolutions_gflop(network: Network) -> float:
    """Of all convolutions, a multiplication and an addition each."""
    return sum(_product(network, layer).gflop for layer in network.layers if isinstance(layer.op, Convolutional))


def _product(network: Network, layer: Any) -> Product:
    filters, channels, rows, columns = kernel_shape(network, layer)
    return Product(filters, channels * rows * columns, layer.shape.height * layer.shape.width)


def runs(product: Product, threads: int) -> Iterator[tuple[str, Run]]:
    """Each library's product of this shape; numpy's threads are those of the environment."""
    rng = np.random.default_rng(0)
    a = rng.random((product.rows, product.inner), np.float32)
    b = rng.random((product.inner, product.columns), np.float32)
    out = np.empty((product.rows, product.columns), np.float32)
    yield "numpy", lambda: np.matmul(a, b, out=out)
    graph = _graph(a, product)  # the left factor is constant, as kernels are: a library may arrange it beforehand
    session = _session(graph, threads)
    yield "onnxruntime", lambda: session.run(None, {"b": b})
    if find_spec("openvino"):
        yield "openvino", _openvino(graph, b, threads)


def _graph(a: np.ndarray[Any, Any], product: Product) -> bytes:
    kind, value = onnx.TensorProto.FLOAT, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["a", "b"], ["c"])],
        "sgemm",
        [value("b", kind, [product.inner, product.columns])],
        [value("c", kind, [product.rows, product.columns])],
        [onnx.numpy_helper.from_array(a, "a")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def _session(graph: bytes, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the next one in turn needs the core
    return onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])


def _openvino(graph: bytes, b: np.ndarray[Any, Any], threads: int) -> Run:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(core.read_model(graph), "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(b, shared_memory=True))
    run: Run = request.infer
    return run
