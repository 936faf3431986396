"""A Darknet ``.cfg`` to a checked ``Network``.

Defaults are those of pjreddie's ``parser.c``; AlexeyAB's additions that change inference (``scale_x_y``, route groups,
mish, swish, relu6) are followed. Keys without effect on a photo are known by name, and so are those whose effect is not
followed (``fixed_keys``); everything else is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast, get_args

from model_wrappers.darknet.errors import CfgError
from model_wrappers.darknet.fixed_keys import fixed_keys
from model_wrappers.darknet.layers import (
    IMAGE,
    Activation,
    Convolutional,
    Dropout,
    Layer,
    MaxPool,
    Network,
    Op,
    Region,
    Reorg,
    Route,
    Shape,
    Shortcut,
    Upsample,
    Yolo,
)
from model_wrappers.darknet.sections import Section, load_cfg_text, parse_sections, quoted
from model_wrappers.darknet.shapes import check_cost, check_heads, output_shape
from model_wrappers.darknet.training_keys import (
    CONVOLUTION_TRAINING,
    DROPOUT_TRAINING,
    HEAD_TRAINING,
    LAYER_TRAINING,
    NET_TRAINING,
    ROUTE_TRAINING,
)

MAX_INPUT_SIDE = 4096
MAX_FILTERS = 1 << 16
MAX_KERNEL = 64
MAX_CLASSES = 20_000
MAX_ANCHORS = 100
CHANNELS = 3

_ACTIVATIONS = get_args(Activation)
_ALIASES = {"network": "net", "conv": "convolutional", "max": "maxpool"}


def load_network(path: Path) -> Network:
    """Read and check a cfg file. Raises ``CfgError`` naming file, line and layer."""
    return parse_network(load_cfg_text(path), path=str(path))


def parse_network(text: str, *, path: str = "<cfg>") -> Network:
    """Cfg text to a ``Network``; ``path`` only names the file in errors."""
    first, *rest = parse_sections(text, path)
    image = _read_net(first)
    layers: list[Layer] = []
    for section in rest:
        layers.append(_read_layer(section, layers, image))
    check_heads(path, layers)
    network = Network(path, image, tuple(layers))
    check_cost(network)
    return network


def _read_net(section: Section) -> Shape:
    kind = _ALIASES.get(section.kind, section.kind)
    if kind != "net":
        raise CfgError(section.path, section.line, f"the first section is {section.title}: a cfg starts with [net]")
    shape = Shape(
        section.integer("channels", low=CHANNELS, high=CHANNELS),
        section.integer("height", low=1, high=MAX_INPUT_SIDE),
        section.integer("width", low=1, high=MAX_INPUT_SIDE),
    )
    section.integer("inputs", shape.elements, low=shape.elements, high=shape.elements)
    section.finish(NET_TRAINING, {})
    return shape


def _read_layer(section: Section, before: list[Layer], image: Shape) -> Layer:
    kind = _ALIASES.get(section.kind, section.kind)
    reader = _READERS.get(kind)
    if reader is None:
        raise section.error(f"unknown layer: this library knows {', '.join(sorted(_READERS))}")
    op, inputs, ignored = reader(section, len(before))
    section.finish(LAYER_TRAINING | ignored, fixed_keys(kind))
    shapes = [image if source == IMAGE else _source(section, before[source]) for source in inputs]
    return Layer(len(before), section.line, op, inputs, output_shape(op, shapes, section))


def _source(section: Section, layer: Layer) -> Shape:
    if isinstance(layer.op, Yolo | Region):
        raise section.error(
            f"takes the output of layer {layer.index} [{layer.kind}]: nothing can follow a head but [route]"
        )
    return layer.shape


_Read = tuple[Op, tuple[int, ...], frozenset[str]]
_NONE: frozenset[str] = frozenset()


def _convolutional(section: Section, index: int) -> _Read:
    size = section.integer("size", 1, low=1, high=MAX_KERNEL)
    padding = section.integer("padding", 0, high=MAX_KERNEL)
    op = Convolutional(
        filters=section.integer("filters", 1, low=1, high=MAX_FILTERS),
        size=size,
        stride=section.integer("stride", 1, low=1, high=MAX_KERNEL),
        padding=size // 2 if section.switch("pad") else padding,
        groups=section.integer("groups", 1, low=1, high=MAX_FILTERS),
        batch_normalize=section.switch("batch_normalize"),
        activation=_activation(section, "logistic"),
    )
    return op, (index - 1,), CONVOLUTION_TRAINING


def _maxpool(section: Section, index: int) -> _Read:
    stride = section.integer("stride", 1, low=1, high=MAX_KERNEL)
    size = section.integer("size", stride, low=1, high=MAX_KERNEL)
    return MaxPool(size, stride, section.integer("padding", size - 1, high=size - 1)), (index - 1,), _NONE


def _upsample(section: Section, index: int) -> _Read:
    stride = section.integer("stride", 2, low=1, high=MAX_KERNEL)
    return Upsample(stride, section.number("scale", 1.0, low=-1e6, high=1e6)), (index - 1,), _NONE


def _route(section: Section, index: int) -> _Read:
    inputs = tuple(_absolute(section, "layers", value, index) for value in section.integers("layers"))
    groups = section.integer("groups", 1, low=1, high=MAX_FILTERS)
    return Route(groups, section.integer("group_id", 0, low=0, high=groups - 1)), inputs, ROUTE_TRAINING


def _shortcut(section: Section, index: int) -> _Read:
    sources = section.integers("from")
    if len(sources) != 1:
        raise section.error(f"from lists {len(sources)} layers: one is possible", "from")
    other = _absolute(section, "from", sources[0], index)
    return Shortcut(_activation(section, "linear")), (index - 1, other), _NONE


def _dropout(section: Section, index: int) -> _Read:
    section.number("probability", 0.5, low=0, high=1)
    return Dropout(), (index - 1,), DROPOUT_TRAINING


def _reorg(section: Section, index: int) -> _Read:
    stride = section.integer("stride", 1, low=1, high=MAX_KERNEL)
    return Reorg(stride, section.switch("reverse")), (index - 1,), _NONE


def _yolo(section: Section, index: int) -> _Read:
    anchors = _anchors(section)
    mask = section.integers("mask", ",".join(str(number) for number in range(len(anchors))))
    wrong = [number for number in mask if not 0 <= number < len(anchors)]
    if wrong or len(set(mask)) != len(mask):
        raise section.error(
            f"mask={quoted(','.join(map(str, mask)))} does not pick distinct anchors of 0..{len(anchors) - 1}", "mask"
        )
    op = Yolo(
        anchors=tuple(anchors[number] for number in mask),
        classes=section.integer("classes", 20, low=1, high=MAX_CLASSES),
        scale_x_y=section.number("scale_x_y", 1.0, low=0.1, high=10),
    )
    return op, (index - 1,), HEAD_TRAINING


def _region(section: Section, index: int) -> _Read:
    section.integer("coords", 4, low=4, high=4)
    op = Region(
        anchors=_anchors(section),
        classes=section.integer("classes", 20, low=1, high=MAX_CLASSES),
        softmax=section.switch("softmax"),
    )
    return op, (index - 1,), HEAD_TRAINING


def _anchors(section: Section) -> tuple[tuple[float, float], ...]:
    count = section.integer("num", 1, low=1, high=MAX_ANCHORS)
    values = section.numbers("anchors")
    if len(values) != 2 * count:
        raise section.error(f"anchors lists {len(values)} numbers: num={count} needs {2 * count}", "anchors")
    if min(values) <= 0:
        raise section.error("anchors are widths and heights: all must be above 0", "anchors")
    return tuple(zip(values[::2], values[1::2], strict=True))


def _activation(section: Section, default: Activation) -> Activation:
    return cast(Activation, section.choice("activation", _ACTIVATIONS, default))


def _absolute(section: Section, key: str, value: int, index: int) -> int:
    """Darknet's rule: negative counts back from this layer, else an index from 0."""
    absolute = index + value if value < 0 else value
    if not 0 <= absolute < index:
        raise section.error(f"{key}={value} is layer {absolute}: only layers 0 to {index - 1} come before", key)
    return absolute


_READERS: dict[str, Callable[[Section, int], _Read]] = {
    "convolutional": _convolutional,
    "maxpool": _maxpool,
    "upsample": _upsample,
    "route": _route,
    "shortcut": _shortcut,
    "dropout": _dropout,
    "reorg": _reorg,
    "yolo": _yolo,
    "region": _region,
}
