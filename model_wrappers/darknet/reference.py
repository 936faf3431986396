"""Darknet's forward pass, written plainly: one short function per layer kind, no folding, float32 arrays.

The compiled graph is compared with this layer by layer, in tests and at registration. ``run`` gives the output of every
layer; heads give their input, as the graph's raw heads do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from model_wrappers.darknet import layers
from model_wrappers.darknet.layers import IMAGE, LEAKY_SLOPE, NORM_EPSILON, Layer, Network
from model_wrappers.darknet.weights import Floats, Parameters, Weights

ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "linear": lambda x: x,
    "leaky": lambda x: np.where(x > 0, x, np.float32(LEAKY_SLOPE) * x),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.minimum(np.maximum(x, 0), 6),
    "logistic": lambda x: _logistic(x),  # noqa: PLW0108  - it is defined below
    "swish": lambda x: x * _logistic(x),
    "mish": lambda x: x * np.tanh(np.logaddexp(np.float32(0), x)),
}


def _logistic(values: Floats) -> Floats:
    with np.errstate(over="ignore"):  # exp(large) = inf gives the right 0
        result: Floats = np.float32(1) / (np.float32(1) + np.exp(-values))
    return result


def run(network: Network, weights: Weights, pixels: npt.NDArray[np.uint8]) -> list[Floats]:
    """uint8 [H, W, 3] → the output [channels, rows, columns] of each layer."""
    image = (pixels.transpose(2, 0, 1) / 255).astype(np.float32)
    outputs: list[Floats] = []
    for layer in network.layers:
        sources = [image if index == IMAGE else outputs[index] for index in layer.inputs]
        outputs.append(_layer(layer, sources, weights.parameters.get(layer.index)).astype(np.float32))
    return outputs


def _layer(layer: Layer, sources: list[Floats], parameters: Parameters | None) -> Floats:  # noqa: PLR0911  - a row per kind
    match layer.op:
        case layers.Convolutional() as op:
            assert parameters is not None  # noqa: S101  - weights are read for every convolution
            return _convolve(op, sources[0], parameters)
        case layers.MaxPool() as op:
            return _maxpool(op, sources[0], layer.shape.height, layer.shape.width)
        case layers.Upsample() as op:
            return sources[0].repeat(op.stride, axis=1).repeat(op.stride, axis=2) * np.float32(op.scale)
        case layers.Route() as op:
            return np.concatenate([np.split(source, op.groups)[op.group_id] for source in sources])
        case layers.Shortcut() as op:
            return ACTIVATIONS[op.activation](sources[0] + sources[1])
        case layers.Reorg() as op:
            return _reorg(op, sources[0]).reshape(layer.shape)
        case layers.Dropout() | layers.Yolo() | layers.Region():
            return sources[0]


def _convolve(op: layers.Convolutional, image: Floats, parameters: Parameters) -> Floats:
    padded = np.pad(image, ((0, 0), (op.padding, op.padding), (op.padding, op.padding)))
    groups = []
    for channels, kernels in zip(np.split(padded, op.groups), np.split(parameters.kernels, op.groups), strict=True):
        windows = sliding_window_view(channels, (op.size, op.size), axis=(1, 2))[:, :: op.stride, :: op.stride]
        groups.append(np.einsum("chwij,fcij->fhw", windows, kernels, optimize=True))
    out = np.concatenate(groups)
    if op.batch_normalize:
        deviation = np.sqrt(parameters.variances) + np.float32(NORM_EPSILON)
        out = (out - _planes(parameters.means)) / _planes(deviation) * _planes(parameters.scales)
    return ACTIVATIONS[op.activation](out + _planes(parameters.biases))


def _planes(values: Floats) -> Floats:
    return values[:, None, None]


def _maxpool(op: layers.MaxPool, image: Floats, rows: int, columns: int) -> Floats:
    before, channels = op.padding // 2, image.shape[0]
    out = np.full((channels, rows, columns), -np.inf, np.float32)
    for row in range(rows):
        for column in range(columns):
            top, left = row * op.stride - before, column * op.stride - before
            window = image[:, max(top, 0) : top + op.size, max(left, 0) : left + op.size]
            out[:, row, column] = window.max(axis=(1, 2))
    return out


def _reorg(op: layers.Reorg, image: Floats) -> Floats:
    """Pjreddie's loop over the buffer as it stands in ``reorg_cpu``."""
    channels, height, width = image.shape
    step, outer = op.stride, channels // (op.stride * op.stride)
    flat, out = image.ravel(), np.empty(image.size, np.float32)
    for k in range(channels):
        for j in range(height):
            for i in range(width):
                near = i + width * (j + height * k)
                column = i * step + (k // outer) % step
                row = j * step + (k // outer) // step
                far = column + width * step * (row + height * step * (k % outer))
                if op.reverse:
                    out[far] = flat[near]
                else:
                    out[near] = flat[far]
    return out
