"""Shapes of each layer from those of its sources, by pjreddie's integer arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

from model_wrappers.darknet import layers
from model_wrappers.darknet.errors import CfgError
from model_wrappers.darknet.layers import Head, Layer, Network, Op, Shape
from model_wrappers.darknet.sections import Section

MAX_ELEMENTS = 1 << 28  # one activation tensor: 1 GiB of float32
MAX_TOTAL_ELEMENTS = 1 << 30  # of all layers, which a proof keeps: 4 GiB of float32; yolov3 at 608 has 122 million
MAX_MULTIPLY_ADDS = 1 << 40  # of one photo: some 20 s of a fast core; yolov3 at 608 has 70 thousand million
BOX_ENTRIES = 5  # x, y, width, height, objectness


def output_shape(op: Op, sources: Sequence[Shape], section: Section) -> Shape:
    """Shape that ``op`` makes of ``sources``; errors name the layer of ``section``."""
    shape = _shape(op, sources, section)
    if min(shape) < 1:
        raise section.error(f"nothing is left of its input {sources[0]}: the output would be {shape}")
    if shape.elements > MAX_ELEMENTS:
        raise section.error(f"the output {shape} has {shape.elements} elements: at most {MAX_ELEMENTS} are possible")
    return shape


def check_heads(path: str, every: Sequence[Layer]) -> None:
    """A detector has one head or more, all with the same classes."""
    heads = [(layer, layer.op.classes) for layer in every if isinstance(layer.op, Head)]
    if not heads:
        raise CfgError(path, 0, "has no [yolo] or [region] layer: not a detector")
    first, classes = heads[0]
    for layer, found in heads[1:]:
        if found != classes:
            raise CfgError(
                path,
                layer.line,
                f"layer {layer.index} [{layer.kind}]: classes={found}, but layer {first.index} has classes={classes}",
            )


def check_cost(network: Network) -> None:
    """Refuse a network that no machine it is meant for could hold or finish."""
    elements = multiply_adds = 0
    for layer in network.layers:
        elements += layer.shape.elements
        multiply_adds += layer.shape.elements * _window(network, layer)
        for what, count, most in (
            ("elements", elements, MAX_TOTAL_ELEMENTS),
            ("multiplications", multiply_adds, MAX_MULTIPLY_ADDS),
        ):
            if count > most:
                raise CfgError(
                    network.path,
                    layer.line,
                    f"layer {layer.index} [{layer.kind}]: up to here a photo takes {count} {what}: "
                    f"at most {most} are possible",
                )


def _window(network: Network, layer: Layer) -> int:
    """Elements of the input that one of the output looks at."""
    match layer.op:
        case layers.Convolutional() as op:
            return network.source_shape(layer.inputs[0]).channels // op.groups * op.size * op.size
        case layers.MaxPool() as op:
            return op.size * op.size
        case _:
            return 1


@singledispatch
def _shape(op: Op, sources: Sequence[Shape], section: Section) -> Shape:  # noqa: ARG001  - dropout is the rest
    return sources[0]


@_shape.register
def _(op: layers.Convolutional, sources: Sequence[Shape], section: Section) -> Shape:
    source = sources[0]
    if source.channels % op.groups or op.filters % op.groups:
        raise section.error(
            f"groups={op.groups} does not divide both {source.channels} channels and filters={op.filters}"
        )
    rows = (source.height + 2 * op.padding - op.size) // op.stride + 1
    columns = (source.width + 2 * op.padding - op.size) // op.stride + 1
    return Shape(op.filters, rows, columns)


@_shape.register
def _(op: layers.MaxPool, sources: Sequence[Shape], section: Section) -> Shape:  # noqa: ARG001
    source = sources[0]
    rows = (source.height + op.padding - op.size) // op.stride + 1
    columns = (source.width + op.padding - op.size) // op.stride + 1
    return Shape(source.channels, rows, columns)


@_shape.register
def _(op: layers.Upsample, sources: Sequence[Shape], section: Section) -> Shape:  # noqa: ARG001
    source = sources[0]
    return Shape(source.channels, source.height * op.stride, source.width * op.stride)


@_shape.register
def _(op: layers.Route, sources: Sequence[Shape], section: Section) -> Shape:
    first = sources[0]
    for source in sources:
        if source[1:] != first[1:]:
            raise section.error(f"joins {first} and {source}: width and height must be equal", "layers")
        if source.channels % op.groups:
            raise section.error(f"groups={op.groups} does not divide {source.channels} channels", "groups")
    return Shape(sum(source.channels // op.groups for source in sources), first.height, first.width)


@_shape.register
def _(op: layers.Shortcut, sources: Sequence[Shape], section: Section) -> Shape:  # noqa: ARG001
    if sources[0] != sources[1]:
        raise section.error(f"adds {sources[1]} to {sources[0]}: both must have one shape", "from")
    return sources[0]


@_shape.register
def _(op: layers.Reorg, sources: Sequence[Shape], section: Section) -> Shape:
    source, square = sources[0], op.stride * op.stride
    if source.channels % square:
        raise section.error(
            f"stride={op.stride} needs channels divisible by {square}: found {source.channels}", "stride"
        )
    if op.reverse:
        return Shape(source.channels // square, source.height * op.stride, source.width * op.stride)
    if source.height % op.stride or source.width % op.stride:
        raise section.error(f"stride={op.stride} does not divide the input {source}", "stride")
    return Shape(source.channels * square, source.height // op.stride, source.width // op.stride)


@_shape.register
def _(op: layers.Yolo, sources: Sequence[Shape], section: Section) -> Shape:
    return _head_shape(op, sources[0], section)


@_shape.register
def _(op: layers.Region, sources: Sequence[Shape], section: Section) -> Shape:
    return _head_shape(op, sources[0], section)


def _head_shape(op: Head, source: Shape, section: Section) -> Shape:
    expected = len(op.anchors) * (op.classes + BOX_ENTRIES)
    if source.channels != expected:
        raise section.error(
            f"{len(op.anchors)} anchors of {op.classes} classes need {expected} channels: "
            f"the layer before gives {source.channels} (its filters= must be {expected})"
        )
    return source
