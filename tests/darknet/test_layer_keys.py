"""Each key of a layer beside Debian's darknet: sizes, strides and paddings that no published cfg combines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_wrappers.darknet.cfg import parse_network
from model_wrappers.darknet.engines.libdarknet import DarknetProcess, to_planes
from model_wrappers.darknet.random_weights import random_weights
from model_wrappers.darknet.weights import write_weights
from tests.darknet.test_parity import LAYER_TOLERANCE, run_every_layer, worst_layer

pytestmark = pytest.mark.darknet

WIDTH, HEIGHT = 18, 13  # no stride below divides both
HEAD = f"""[net]
width={WIDTH}
height={HEIGHT}
channels=3
[convolutional]
filters=8
size=3
pad=1
activation=leaky
"""
TAIL = "[convolutional]\nfilters=7\nactivation=linear\n[yolo]\nanchors=4,4\nclasses=2\n"
POOLS = [
    f"[maxpool]\nsize={size}\nstride={stride}\npadding={padding}\n"
    for size in (2, 3, 5)
    for stride in (1, 2, 3)
    for padding in range(size)
]
OTHERS = [
    "[convolutional]\nfilters=4\nsize=3\npadding=2\nstride=2\nactivation=logistic\n",
    "[convolutional]\nfilters=4\nsize=3\nstride=2\nactivation=relu\n",
    "[convolutional]\nfilters=4\nsize=4\npad=1\nactivation=linear\n",
    "[convolutional]\nfilters=16\ngroups=8\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n",
    "[upsample]\nstride=3\nscale=.5\n",
    "[reorg]\nstride=2\nreverse=1\n",
    "[convolutional]\nfilters=8\nactivation=linear\n[shortcut]\nfrom=-2\nactivation=leaky\n",
    "[route]\nlayers=0,0,0\n[route]\nlayers=-1,0\n",
    "[dropout]\nprobability=.9\n",
    "[max]\nsize=2\nstride=2\n[conv]\nfilters=3\nactivation=linear\n",
]


@pytest.mark.parametrize("layers", [POOLS, OTHERS], ids=["maxpool", "others"])
def test_each_layer_is_darknets(tmp_path: Path, layers: list[str]) -> None:
    """All in one network: each takes the output of the first convolution."""
    cfg, path = tmp_path / "keys.cfg", tmp_path / "keys.weights"
    cfg.write_text(HEAD + "".join(f"[route]\nlayers=0\n{text}" for text in layers) + TAIL)
    network = parse_network(cfg.read_text())
    weights = random_weights(network, 1)
    write_weights(path, network, weights)
    pixels = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    darknet = DarknetProcess(cfg, path, threads=1)
    try:
        theirs = darknet.layers(to_planes(pixels), range(len(network.layers)))
    finally:
        darknet.close()
    share, where = worst_layer(network, theirs, run_every_layer(network, weights, pixels))
    assert share <= LAYER_TOLERANCE, f"{where}: {share:.1e}"
