"""A ``Network`` as a PyTorch module that trains, and its tensors in Darknet's order."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model_wrappers.darknet.layers import (
    IMAGE,
    LEAKY_SLOPE,
    NORM_EPSILON,
    Convolutional,
    Dropout,
    Layer,
    MaxPool,
    Network,
    Route,
    Shortcut,
    Upsample,
    Yolo,
)
from model_wrappers.darknet.training.errors import TrainingError
from model_wrappers.darknet.weights import Parameters

OBJECTNESS = 4  # entry of an anchor, after x, y, width, height
BN_EPSILON = 1e-6  # PyTorch's place for it: added to the variance, which keeps gradients of a constant channel small
PRIOR = 0.01  # objectness that an untrained head gives: nearly every anchor of a photo is free (Lin et al., 2017)
BN_MOMENTUM = 0.05  # of the rolling statistics; Darknet's 0.01 needs more steps than a small data set gives


class DarknetModule(nn.Module):
    """Forward: images float [N, 3, H, W] in 0..1 → the raw output [N, anchors, 5 + classes, h, w] of each yolo head."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.layers = nn.ModuleList(_module(layer, network) for layer in network.layers)
        for layer in network.heads:
            self._set_prior(layer)

    def forward(self, images: Tensor) -> list[Tensor]:
        outputs: list[Tensor] = []
        heads: list[Tensor] = []
        for layer, module in zip(self.network.layers, self.layers, strict=True):
            sources = [images if index == IMAGE else outputs[index] for index in layer.inputs]
            result = module(*sources)
            outputs.append(result)
            if isinstance(layer.op, Yolo):
                count, _, height, width = result.shape
                heads.append(result.view(count, len(layer.op.anchors), 5 + layer.op.classes, height, width))
        return heads

    @torch.no_grad()
    def _set_prior(self, head: Layer) -> None:
        source = self.layers[head.inputs[0]]
        if isinstance(head.op, Yolo) and isinstance(source, _Convolution) and source.conv.bias is not None:
            entries = source.conv.bias.view(len(head.op.anchors), OBJECTNESS + 1 + head.op.classes)
            entries[:, OBJECTNESS] = math.log(PRIOR / (1 - PRIOR))

    def load_learned(self, parameters: Mapping[int, Parameters]) -> None:
        """Go on from what a ``.weights`` file of this cfg holds."""
        for layer, module in zip(self.network.layers, self.layers, strict=True):
            if isinstance(module, _Convolution):
                module.load(parameters[layer.index])

    def parameters_by_layer(self) -> dict[int, Parameters]:
        """What each convolution has learned, as a ``.weights`` file holds it."""
        return {
            layer.index: module.learned()
            for layer, module in zip(self.network.layers, self.layers, strict=True)
            if isinstance(module, _Convolution)
        }


def check_norms(network: Network, batch: int) -> None:
    """Raise TrainingError where batch norm would see one value per channel, which has no spread."""
    for layer in network.layers:
        is_normed = isinstance(layer.op, Convolutional) and layer.op.batch_normalize
        if is_normed and batch * layer.shape.height * layer.shape.width == 1:
            raise TrainingError(
                f"{network.path}: layer {layer.index} gives one pixel, and a step has one photo: batch_normalize needs "
                "more: a larger batch, or a larger width and height"
            )


class _Convolution(nn.Module):
    def __init__(self, op: Convolutional, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, op.filters, op.size, op.stride, op.padding, groups=op.groups, bias=not op.batch_normalize
        )
        self.norm = nn.BatchNorm2d(op.filters, eps=BN_EPSILON, momentum=BN_MOMENTUM) if op.batch_normalize else None
        self.activation = _activation(op.activation)

    def forward(self, images: Tensor) -> Tensor:
        result = self.conv(images)
        if self.norm is not None:
            result = self.norm(result)
        activated: Tensor = self.activation(result)
        return activated

    @torch.no_grad()
    def load(self, learned: Parameters) -> None:
        self.conv.weight.copy_(torch.from_numpy(learned.kernels))
        if self.norm is None:
            _some(self.conv.bias).copy_(torch.from_numpy(learned.biases))
            return
        self.norm.bias.copy_(torch.from_numpy(learned.biases))
        self.norm.weight.copy_(torch.from_numpy(learned.scales))
        _some(self.norm.running_mean).copy_(torch.from_numpy(learned.means))
        _some(self.norm.running_var).copy_(torch.from_numpy(_from_darknet(learned.variances)))

    def learned(self) -> Parameters:
        if self.norm is None:
            return Parameters(_array(self.conv.bias), _NOTHING, _NOTHING, _NOTHING, _array(self.conv.weight))
        return Parameters(
            biases=_array(self.norm.bias),
            scales=_array(self.norm.weight),
            means=_array(self.norm.running_mean),
            variances=_to_darknet(_array(self.norm.running_var)),
            kernels=_array(self.conv.weight),
        )


_NOTHING = np.zeros(0, dtype=np.float32)


def _some(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise TypeError("a convolution was built without this tensor")
    return tensor


def _array(tensor: Tensor | None) -> NDArray[np.float32]:
    array: NDArray[np.float32] = _some(tensor).detach().cpu().numpy().astype(np.float32)
    return array


def _to_darknet(variances: NDArray[np.float32]) -> NDArray[np.float32]:
    """Darknet divides by sqrt(variance) + NORM_EPSILON: the variance with which that is PyTorch's divisor."""
    roots = np.sqrt(variances.astype(np.float64) + BN_EPSILON)
    return ((roots - NORM_EPSILON) ** 2).astype(np.float32)


def _from_darknet(variances: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse; a variance below BN_EPSILON becomes 0, the nearest that PyTorch can have."""
    roots = np.sqrt(variances.astype(np.float64)) + NORM_EPSILON
    return np.maximum(roots**2 - BN_EPSILON, 0).astype(np.float32)


class _MaxPool(nn.Module):
    def __init__(self, op: MaxPool) -> None:
        super().__init__()
        before = op.padding // 2
        self.padding = (before, op.padding - before, before, op.padding - before)
        self.pool = nn.MaxPool2d(op.size, op.stride)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.pool(nn.functional.pad(images, self.padding, value=float("-inf")))
        return result


class _Upsample(nn.Module):
    def __init__(self, op: Upsample) -> None:
        super().__init__()
        self.op = op
        self.larger = nn.Upsample(scale_factor=op.stride)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.larger(images) * self.op.scale
        return result


class _Shortcut(nn.Module):
    def __init__(self, op: Shortcut) -> None:
        super().__init__()
        self.activation = _activation(op.activation)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        result: Tensor = self.activation(first + second)
        return result


class _Route(nn.Module):
    def __init__(self, op: Route) -> None:
        super().__init__()
        self.op = op

    def forward(self, *sources: Tensor) -> Tensor:
        return torch.cat([source.chunk(self.op.groups, dim=1)[self.op.group_id] for source in sources], dim=1)


def _activation(name: str) -> nn.Module:
    known: dict[str, nn.Module] = {
        "leaky": nn.LeakyReLU(LEAKY_SLOPE),
        "linear": nn.Identity(),
        "relu": nn.ReLU(),
        "relu6": nn.ReLU6(),
        "logistic": nn.Sigmoid(),
        "mish": nn.Mish(),
        "swish": nn.SiLU(),
    }
    return known[name]


def _module(layer: Layer, network: Network) -> nn.Module:
    op = layer.op
    if isinstance(op, Convolutional):
        return _Convolution(op, network.source_shape(layer.inputs[0]).channels)
    if isinstance(op, MaxPool):
        return _MaxPool(op)
    if isinstance(op, Upsample):
        return _Upsample(op)
    if isinstance(op, Shortcut):
        return _Shortcut(op)
    if isinstance(op, Route):
        return _Route(op)
    if isinstance(op, Yolo | Dropout):
        return nn.Identity()
    raise TrainingError(f"{network.path}: layer {layer.index} [{layer.kind}] can be served but not trained here")
