"""The layer kinds of a Darknet cfg as values. Shapes are (channels, height, width); lengths are pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Activation = Literal["leaky", "linear", "relu", "relu6", "logistic", "mish", "swish"]
LEAKY_SLOPE = 0.1
NORM_EPSILON = 1e-6  # pjreddie, normalize_cpu: added to the square root of the variance, not to the variance
IMAGE = -1  # the index that stands for the photo where a layer's inputs are listed


class Shape(NamedTuple):
    """One tensor without its batch axis."""

    channels: int
    height: int
    width: int

    @property
    def elements(self) -> int:
        return self.channels * self.height * self.width

    def __str__(self) -> str:
        return f"{self.width} x {self.height} x {self.channels}"


@dataclass(frozen=True)
class Convolutional:
    """``padding`` is per side; ``weights`` in the file are [filters, channels / groups, size, size]."""

    filters: int
    size: int
    stride: int
    padding: int
    groups: int
    batch_normalize: bool
    activation: Activation


@dataclass(frozen=True)
class MaxPool:
    """``padding`` is the sum of both sides, ``padding // 2`` of it before the first pixel (pjreddie's rule)."""

    size: int
    stride: int
    padding: int


@dataclass(frozen=True)
class Upsample:
    """Nearest neighbour, then times ``scale``."""

    stride: int
    scale: float


@dataclass(frozen=True)
class Route:
    """Channels joined; with ``groups`` > 1 only slice ``group_id`` of each source (AlexeyAB)."""

    groups: int
    group_id: int


@dataclass(frozen=True)
class Shortcut:
    """Sum of the previous layer and one earlier layer of the same shape."""

    activation: Activation


@dataclass(frozen=True)
class Dropout:
    """Nothing at inference."""


@dataclass(frozen=True)
class Reorg:
    """Space to depth in Darknet's own channel order; ``reverse`` is its inverse."""

    stride: int
    reverse: bool


@dataclass(frozen=True)
class Yolo:
    """A YOLOv3 head: ``anchors`` are (width, height) in pixels of the network input, already picked by ``mask``."""

    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale_x_y: float


@dataclass(frozen=True)
class Region:
    """A YOLOv2 head: ``anchors`` are (width, height) in cells; classes by softmax or one logistic each."""

    anchors: tuple[tuple[float, float], ...]
    classes: int
    softmax: bool


Head = Yolo | Region
Op = Convolutional | MaxPool | Upsample | Route | Shortcut | Dropout | Reorg | Yolo | Region


@dataclass(frozen=True)
class Layer:
    """One layer in its place: ``inputs`` are indices of earlier layers (``IMAGE`` = the photo)."""

    index: int
    line: int
    op: Op
    inputs: tuple[int, ...]
    shape: Shape

    @property
    def kind(self) -> str:
        return type(self.op).__name__.lower()


@dataclass(frozen=True)
class Network:
    """A whole cfg, checked: every shape is known, every index points at an earlier layer, all heads agree on classes."""

    path: str
    input: Shape
    layers: tuple[Layer, ...]

    @property
    def heads(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if isinstance(layer.op, Head))

    @property
    def classes(self) -> int:
        head = self.heads[0].op
        assert isinstance(head, Head)  # noqa: S101  - heads holds nothing else
        return head.classes

    def source_shape(self, index: int) -> Shape:
        """Shape of layer ``index``, or of the photo."""
        return self.input if index == IMAGE else self.layers[index].shape
