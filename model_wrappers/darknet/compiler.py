"""A network and its weights as an ONNX graph.

The graph takes ``images`` (uint8 [N, H, W, 3], RGB, letterboxed), scales by 1/255 inside and gives one float32 output
[N, anchors * (5 + classes), rows, columns] per head, before any logistic. Batch norm is folded into the convolutions.
The same inputs give the same bytes. Where pjreddie's CPU code drops a key (the stride of a 1 x 1 convolution), the graph
does what its GPU code and AlexeyAB's Darknet do. Opset 13 is read by ONNX Runtime 1.x and OpenCV 4.x.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_wrappers.darknet import layers
from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.errors import WeightsError
from model_wrappers.darknet.layers import IMAGE, LEAKY_SLOPE, NORM_EPSILON, Activation, Layer, Network
from model_wrappers.darknet.provenance import CFG_KEY, WEIGHTS_KEY, file_sha256
from model_wrappers.darknet.weights import Floats, Parameters, Weights, load_weights

OPSET = 13
IR_VERSION = 8
PRODUCER = "model_wrappers.darknet"
INPUT_NAME = "images"


def compile_files(cfg: Path, weights: Path) -> bytes:
    """ONNX bytes of a cfg and weights pair; both files' SHA-256 stand in the model's metadata.

    Raises:
        CfgError, WeightsError: a file is not what it must be.
    """
    network = load_network(cfg)
    checked = load_weights(weights, network)  # before it is hashed: a file of any size is refused at once
    metadata = {CFG_KEY: file_sha256(cfg), WEIGHTS_KEY: file_sha256(weights)}
    return compile_network(network, checked, metadata=metadata, path=str(weights))


def compile_network(
    network: Network,
    weights: Weights,
    *,
    outputs: Sequence[int] = (),
    metadata: dict[str, str] | None = None,
    path: str = "<weights>",
) -> bytes:
    """ONNX bytes; ``outputs`` (layer indices) replaces the heads, for comparing layer by layer."""
    model = helper.make_model(
        helper.make_graph([], "darknet", [], []),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
    )
    graph = _Graph(model.graph, network, weights, path)
    graph.take_image()
    for layer in network.layers:
        graph.add_layer(layer)
    graph.give([network.layers[index] for index in outputs] or network.heads)
    helper.set_model_props(model, dict(sorted((metadata or {}).items())))
    return model.SerializeToString(deterministic=True)


def fold_batch_norm(found: Parameters) -> tuple[Floats, Floats]:
    """Kernels and biases of the one convolution that equals convolution plus batch norm."""
    if not found.scales.size:
        return found.kernels, found.biases
    factor = found.scales.astype(np.float64) / (np.sqrt(found.variances.astype(np.float64)) + NORM_EPSILON)
    kernels = found.kernels * factor[:, None, None, None]
    biases = found.biases - found.means * factor
    with np.errstate(over="ignore"):
        return kernels.astype(np.float32), biases.astype(np.float32)


class _Graph:
    """Nodes and constants, written into the model at once (onnx's helpers would copy all weights twice more).

    ``_tensors`` maps a layer index to the name of its output.
    """

    def __init__(self, proto: onnx.GraphProto, network: Network, weights: Weights, path: str) -> None:
        self._proto = proto
        self._network = network
        self._weights = weights
        self._path = path
        self._tensors: dict[int, str] = {}

    def give(self, wanted: Sequence[Layer]) -> None:
        """Each wanted layer under its own name: several layers may share one tensor (dropout, a route of one)."""
        for layer in wanted:
            name = f"{layer.kind}_{layer.index}"
            self._node("Identity", [self._tensors[layer.index]], name)
            info = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *layer.shape])
            self._proto.output.append(info)

    def take_image(self) -> None:
        channels, height, width = self._network.input
        info = helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["N", height, width, channels])
        self._proto.input.append(info)
        planes = self._node("Transpose", [INPUT_NAME], "image_planes", perm=[0, 3, 1, 2])
        floats = self._node("Cast", [planes], "image_floats", to=TensorProto.FLOAT)
        scale = self._constant("image_scale", np.array(1 / 255, np.float32))
        self._tensors[IMAGE] = self._node("Mul", [floats, scale], "image")

    def add_layer(self, layer: Layer) -> None:
        sources = [self._tensors[index] for index in layer.inputs]
        self._tensors[layer.index] = self._render(layer, sources)

    def _render(self, layer: Layer, sources: list[str]) -> str:
        name = f"layer_{layer.index}"
        match layer.op:
            case layers.Convolutional() as op:
                out = self._convolution(layer, op, sources[0], name)
            case layers.MaxPool() as op:
                out = self._maxpool(layer, op, sources[0], name)
            case layers.Upsample() as op:
                out = self._upsample(op, sources[0], name)
            case layers.Route() as op:
                out = self._route(layer, op, sources, name)
            case layers.Shortcut() as op:
                out = self._activate(op.activation, self._node("Add", sources, f"{name}_sum"), name)
            case layers.Reorg() as op:
                out = self._reorg(layer, op, sources[0], name)
            case layers.Dropout() | layers.Yolo() | layers.Region():
                out = sources[0]
        return out

    def _convolution(self, layer: Layer, op: layers.Convolutional, source: str, name: str) -> str:
        kernels, biases = fold_batch_norm(self._weights.parameters[layer.index])
        if not (np.isfinite(kernels).all() and np.isfinite(biases).all()):
            raise WeightsError(self._path, f"layer {layer.index} [convolutional]: batch norm overflows float32")
        inputs = [source, self._constant(f"{name}_kernels", kernels), self._constant(f"{name}_biases", biases)]
        padding = [op.padding] * 4
        size, stride = [op.size] * 2, [op.stride] * 2
        out = self._node(
            "Conv", inputs, f"{name}_conv", group=op.groups, kernel_shape=size, pads=padding, strides=stride
        )
        return self._activate(op.activation, out, name)

    def _maxpool(self, layer: Layer, op: layers.MaxPool, source: str, name: str) -> str:
        shape = self._network.source_shape(layer.inputs[0])
        before = op.padding // 2
        after = [
            max(0, (out - 1) * op.stride + op.size - before - length)
            for out, length in ((layer.shape.height, shape.height), (layer.shape.width, shape.width))
        ]
        pads = [before, before, *after]
        return self._node("MaxPool", [source], name, kernel_shape=[op.size] * 2, pads=pads, strides=[op.stride] * 2)

    def _upsample(self, op: layers.Upsample, source: str, name: str) -> str:
        scales = self._constant(f"{name}_scales", np.array([1, 1, op.stride, op.stride], np.float32))
        rule = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        out = self._node("Resize", [source, "", scales], f"{name}_resized", **rule)
        if op.scale == 1:
            return out
        return self._node("Mul", [out, self._constant(f"{name}_factor", np.array(op.scale, np.float32))], name)

    def _route(self, layer: Layer, op: layers.Route, sources: list[str], name: str) -> str:
        if op.groups > 1:
            sources = [
                self._slice(source, self._network.source_shape(index).channels // op.groups, op, f"{name}_{place}")
                for place, (source, index) in enumerate(zip(sources, layer.inputs, strict=True))
            ]
        return sources[0] if len(sources) == 1 else self._node("Concat", sources, name, axis=1)

    def _slice(self, source: str, channels: int, op: layers.Route, name: str) -> str:
        start = self._constant(f"{name}_start", np.array([op.group_id * channels], np.int64))
        end = self._constant(f"{name}_end", np.array([(op.group_id + 1) * channels], np.int64))
        axis = self._constant(f"{name}_axis", np.array([1], np.int64))
        return self._node("Slice", [source, start, end, axis], f"{name}_slice")

    def _reorg(self, layer: Layer, op: layers.Reorg, source: str, name: str) -> str:
        """Darknet's ``reorg_cpu``: the buffer is read as if it had the other shape, hence two reshapes."""
        channels, height, width = self._network.source_shape(layer.inputs[0])
        step, outer = op.stride, channels // (op.stride * op.stride)
        if op.reverse:
            split, order = [0, step, step, outer, height, width], [0, 3, 4, 1, 5, 2]
        else:
            split, order = [0, outer, height, step, width, step], [0, 3, 5, 1, 2, 4]
        apart = self._node(
            "Reshape", [source, self._constant(f"{name}_split", np.array(split, np.int64))], f"{name}_apart"
        )
        moved = self._node("Transpose", [apart], f"{name}_moved", perm=order)
        return self._node(
            "Reshape", [moved, self._constant(f"{name}_shape", np.array([0, *layer.shape], np.int64))], name
        )

    def _activate(self, activation: Activation, source: str, name: str) -> str:
        match activation:
            case "linear":
                out = source
            case "leaky":
                out = self._node("LeakyRelu", [source], name, alpha=LEAKY_SLOPE)
            case "relu":
                out = self._node("Relu", [source], name)
            case "relu6":
                limits = [self._constant(f"{name}_{limit}", np.array(limit, np.float32)) for limit in (0, 6)]
                out = self._node("Clip", [source, *limits], name)
            case "logistic":
                out = self._node("Sigmoid", [source], name)
            case "swish":
                out = self._node("Mul", [source, self._node("Sigmoid", [source], f"{name}_gate")], name)
            case "mish":
                soft = self._node("Softplus", [source], f"{name}_soft")
                out = self._node("Mul", [source, self._node("Tanh", [soft], f"{name}_gate")], name)
        return out

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._proto.node.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def _constant(self, name: str, value: npt.NDArray[Any]) -> str:
        self._proto.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name
