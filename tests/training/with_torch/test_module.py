"""The PyTorch module computes what the library's plain forward pass computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from model_wrappers.darknet.cfg import load_network, parse_network
from model_wrappers.darknet.layers import Network, Reorg
from model_wrappers.darknet.reference import run
from model_wrappers.darknet.training.batches import to_images
from model_wrappers.darknet.training.errors import TrainingError
from model_wrappers.darknet.training.module import PRIOR, DarknetModule
from model_wrappers.darknet.weights import Weights, WeightsHeader, load_weights
from models.shapes.data import DrawnShapes
from models.shapes.evaluate import shapes_model
from tests.darknet.networks import cfg_texts
from tests.data import SHARED_DATA
from tests.training.with_torch.networks import CFG, write_cfg


def worst_difference(network: Network, module: DarknetModule, weights: Weights) -> float:
    """Of the heads of the module and of the plain forward pass, relative to the largest value."""
    side = (network.input.height, network.input.width, 3)
    pixels = np.random.default_rng(1).integers(0, 256, side).astype(np.uint8)
    with torch.no_grad():
        found = [head.flatten(1, 2)[0].numpy() for head in module.eval()(to_images([pixels]))]
    outputs = run(network, weights, pixels)
    plain = [outputs[layer.inputs[0]] for layer in network.heads]
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, plain, strict=True))


def loaded(cfg: Path, weights: Path) -> tuple[Network, DarknetModule, Weights]:
    network = load_network(cfg)
    module = DarknetModule(network)
    read = load_weights(weights, network)
    module.load_learned(read.parameters)
    return network, module, read


def test_heads_equal_the_plain_forward_pass() -> None:
    model = shapes_model(2)
    assert worst_difference(*loaded(model.cfg_path, model.weights_path)) < 1e-4


@pytest.mark.data
@pytest.mark.parametrize("name", ["yolo-fastest-1.1", "MobileNetV2-YOLOv3-Nano-voc"])
def test_a_published_network_computes_the_same(name: str) -> None:
    cfg, weights = SHARED_DATA / "cfg" / f"{name}.cfg", SHARED_DATA / "weights" / f"{name}.weights"
    assert worst_difference(*loaded(cfg, weights)) < 1e-3


@given(text=cfg_texts(), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_any_network_that_trains_computes_what_its_weights_say(text: str, seed: int) -> None:
    """After a step of learning, so that statistics are not those of the start."""
    torch.manual_seed(seed)
    network = parse_network(text)
    assume(not any(isinstance(layer.op, Reorg) for layer in network.layers))
    module = DarknetModule(network).train()
    module(torch.rand(2, 3, network.input.height, network.input.width))
    weights = Weights(WeightsHeader(), module.parameters_by_layer())
    assert worst_difference(network, module, weights) < 1e-3


def test_weights_go_in_and_come_out_with_the_same_meaning() -> None:
    model = shapes_model(1)
    _, module, read = loaded(model.cfg_path, model.weights_path)
    for index, again in module.parameters_by_layer().items():
        for part in ("biases", "scales", "means", "kernels"):
            assert (getattr(again, part) == getattr(read.parameters[index], part)).all()
        np.testing.assert_allclose(again.variances, read.parameters[index].variances, rtol=1e-4)


def test_a_channel_that_never_changes_is_written_as_it_computes(tmp_path: Path) -> None:
    """Darknet and PyTorch add their epsilon in different places: it decides where the variance is nothing."""
    network = load_network(write_cfg(tmp_path))
    module = DarknetModule(network)
    for child in module.modules():
        if isinstance(child, torch.nn.BatchNorm2d):
            child.running_var.fill_(1e-7)
    assert worst_difference(network, module, Weights(WeightsHeader(), module.parameters_by_layer())) < 1e-3


def test_an_untrained_head_expects_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = load_network(write_cfg(tmp_path))
    with torch.no_grad():
        (head,) = DarknetModule(network).eval()(torch.zeros(1, 3, 64, 96))
    assert head.shape == (1, 2, 7, 8, 12)
    assert head[:, :, 4].sigmoid().mean() == pytest.approx(PRIOR, rel=0.5)


def test_a_layer_that_cannot_be_trained_is_named(tmp_path: Path) -> None:
    head = CFG.index("[convolutional]\nfilters=14")
    network = load_network(write_cfg(tmp_path, CFG[:head] + "[reorg]\nstride=2\n\n" + CFG[head:]))
    with pytest.raises(TrainingError, match=r"small\.cfg: layer 6 \[reorg\] can be served but not trained"):
        DarknetModule(network)


def test_drawn_photos_are_numbered() -> None:
    photos = DrawnShapes(3, first=5)
    assert (photos.read(2).pixels == DrawnShapes(1, first=7).read(0).pixels).all()
    assert photos.fingerprint != DrawnShapes(3).fingerprint
    with pytest.raises(IndexError):
        photos.read(3)
