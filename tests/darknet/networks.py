"""Networks for tests: random ones that hypothesis makes, and one whose answers can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from model_wrappers.darknet.cfg import parse_network
from model_wrappers.darknet.layers import Shape
from model_wrappers.darknet.shapes import BOX_ENTRIES
from model_wrappers.darknet.weights import Parameters, Weights, WeightsHeader, write_weights

CLASSES = 2
TAIL = f"""
[convolutional]
filters={CLASSES + BOX_ENTRIES}
activation=linear
[yolo]
anchors=4,4
classes={CLASSES}
"""
ACTIVATIONS = ("leaky", "linear", "relu", "relu6", "logistic", "mish", "swish")


@st.composite
def cfg_texts(draw: st.DrawFn, activations: Sequence[str] = ACTIVATIONS) -> str:
    """Small valid cfgs of every layer kind; the last two layers are a convolution and a yolo head."""
    text = f"[net]\nwidth={draw(st.integers(6, 16))}\nheight={draw(st.integers(6, 16))}\nchannels=3\n"
    text += "[convolutional]\nfilters=8\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    for _ in range(draw(st.integers(1, 6))):
        shapes = [layer.shape for layer in parse_network(text + TAIL).layers[:-2]]
        text += draw(_next_layer(shapes, activations))
    return text + TAIL


def _next_layer(shapes: list[Shape], activations: Sequence[str]) -> st.SearchStrategy[str]:
    last, index = shapes[-1], len(shapes)
    kinds = [_convolutional(last, activations), _maxpool(), _route(shapes, index)]
    kinds.append(_shortcut(shapes, index, activations))
    kinds.append(st.just("[dropout]\nprobability=.2\n"))
    if max(last.height, last.width) <= 16:
        kinds.append(st.sampled_from(["[upsample]\nstride=2\n", "[upsample]\nstride=3\nscale=.5\n"]))
    if last.channels % 4 == 0 and last.channels <= 64:
        kinds.append(st.just("[reorg]\nstride=2\nreverse=1\n"))
        if last.height % 2 == 0 and last.width % 2 == 0:
            kinds.append(st.just("[reorg]\nstride=2\n"))
    return st.one_of(kinds)


def _convolutional(last: Shape, activations: Sequence[str]) -> st.SearchStrategy[str]:
    groups = [count for count in (1, 2, 4, last.channels) if last.channels % count == 0]
    return st.builds(
        lambda group, times, size, stride, norm, activation: (
            f"[convolutional]\ngroups={group}\nfilters={group * times}\nsize={size}\npad=1\nstride={stride}\n"
            f"batch_normalize={norm}\nactivation={activation}\n"
        ),
        st.sampled_from(groups),
        st.integers(1, 4),
        st.sampled_from([1, 3, 5]),
        st.integers(1, 2),
        st.integers(0, 1),
        st.sampled_from(activations),
    )


def _maxpool() -> st.SearchStrategy[str]:
    return st.builds(
        lambda size, stride: f"[maxpool]\nsize={size}\nstride={stride}\n", st.sampled_from([2, 3, 5]), st.integers(1, 2)
    )


def _route(shapes: list[Shape], index: int) -> st.SearchStrategy[str]:
    alike = [place for place, shape in enumerate(shapes) if shape[1:] == shapes[-1][1:] and shape.channels <= 32]
    picked = st.lists(st.sampled_from(alike or [index - 1]), min_size=1, max_size=3)
    return picked.flatmap(
        lambda places: st.sampled_from(
            [f"[route]\nlayers={','.join(map(str, places))}\n", f"[route]\nlayers={places[0] - index}\n"]
            + [
                f"[route]\nlayers={','.join(map(str, places))}\ngroups=2\ngroup_id={number}\n"
                for number in (0, 1)
                if all(shapes[place].channels % 2 == 0 for place in places)
            ]
        )
    )


def _shortcut(shapes: list[Shape], index: int, activations: Sequence[str]) -> st.SearchStrategy[str]:
    alike = [place for place, shape in enumerate(shapes) if shape == shapes[-1]]
    return st.builds(
        lambda place, activation: f"[shortcut]\nfrom={place - index}\nactivation={activation}\n",
        st.sampled_from(alike),
        st.sampled_from(activations),
    )


CELL = 32
HANDMADE_NAMES = ("red", "green")
HANDMADE_CFG = f"""# Two by two cells; one convolution looks at each cell's mean colour.
[net]
width={2 * CELL}
height={2 * CELL}
channels=3

[convolutional]
filters={BOX_ENTRIES + 2}
size={CELL}
stride={CELL}
activation=linear

[yolo]
anchors={CELL},{CELL}
num=1
classes=2
"""


def write_handmade_model(folder: Path) -> Path:
    """A model that finds a box of exactly one cell where the cell is bright: ``red`` or ``green`` by its mean colour.

    Objectness is logistic(20 (red + green) - 10) and a class logistic(20 colour - 10), colours as means from 0 to 1.
    """
    network = parse_network(HANDMADE_CFG)
    kernels = np.zeros((BOX_ENTRIES + 2, 3, CELL, CELL), np.float32)
    mean = 1 / (CELL * CELL)
    kernels[4, :2] = 20 * mean
    kernels[5, 0] = kernels[6, 1] = 20 * mean
    biases = np.array([0, 0, 0, 0, -10, -10, -10], np.float32)
    none = np.empty(0, np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cells.cfg").write_text(HANDMADE_CFG)
    (folder / "cells.names").write_text("".join(f"{name}\n" for name in HANDMADE_NAMES))
    parameters = {0: Parameters(biases, none, none, none, kernels)}
    write_weights(folder / "cells.weights", network, Weights(WeightsHeader(), parameters))
    return folder
