"""The loss: where it is zero, what it rewards, and that its boxes are those that serving decodes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from model_wrappers.darknet import decode as serving
from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.layers import Head, Network
from model_wrappers.darknet.letterbox import Size
from model_wrappers.darknet.training.errors import TrainingError
from model_wrappers.darknet.training.loss import Targets, decode, generalised_iou, iou, yolo_loss
from models.shapes.train import CFG as SHAPES_CFG
from tests.data import SHARED_DATA
from tests.training.with_torch.networks import CFG, write_cfg

SURE = 20.0  # a logit


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return load_network(write_cfg(tmp_path))


def targets(*boxes: tuple[int, float, float, float, float, int]) -> Targets:
    """Photo, centre x, y, width, height, label."""
    table = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 6)
    return Targets(table[:, 0].long(), table[:, 1:5], table[:, 5].long())


def quiet_head(photos: int = 1) -> torch.Tensor:
    """Sure that nothing is there. The head of the small network: 2 anchors, 2 classes, 8 x 12 cells of 8 pixels."""
    raw = torch.zeros(photos, 2, 7, 8, 12)
    raw[:, :, 4] = -SURE
    return raw


def test_nothing_found_where_nothing_is_costs_nothing(network: Network) -> None:
    assert yolo_loss([quiet_head()], targets(), network).item() == pytest.approx(0, abs=1e-5)


def test_the_right_answer_costs_nothing_and_every_other_more(network: Network) -> None:
    """A box of the second anchor's size in the middle of cell row 2, column 5, of class 1."""
    true = targets((0, 44, 20, 24, 24, 1))
    right = quiet_head()
    right[0, 1, 4:, 2, 5] = torch.tensor([SURE, -SURE, SURE])
    assert yolo_loss([right], true, network).item() == pytest.approx(0, abs=1e-4)
    for entry, value in ((0, 2.0), (1, -2.0), (2, 0.7), (3, -0.7), (4, -3.0), (5, 3.0), (6, -3.0)):
        wrong = right.clone()
        wrong[0, 1, entry, 2, 5] = value
        assert yolo_loss([wrong], true, network).item() > 0.05
    elsewhere = quiet_head()
    elsewhere[0, 0, 4:, 2, 5] = torch.tensor([SURE, -SURE, SURE])  # the other anchor
    assert yolo_loss([elsewhere], true, network).item() > SURE / 2


def test_an_anchor_that_sees_the_box_too_is_not_told_otherwise(network: Network) -> None:
    true = targets((0, 44, 20, 20, 20, 1))
    head = quiet_head()
    head[0, :, 4:, 2, 5] = torch.tensor([SURE, -SURE, SURE])
    both = yolo_loss([head], true, network).item()
    head[0, 0, 4, 2, 5] = -SURE
    assert both == pytest.approx(yolo_loss([head], true, network).item(), abs=1e-4)
    head[0, 0, 4, 7, 11] = SURE  # far away from it
    assert yolo_loss([head], true, network).item() > both + SURE / 2


def test_the_loss_is_the_mean_over_photos(network: Network) -> None:
    true = targets((0, 44, 20, 24, 24, 1))
    alone = yolo_loss([quiet_head()], true, network).item()
    assert yolo_loss([quiet_head(4)], true, network).item() == pytest.approx(alone / 4)


def test_gradients_lead_to_the_box(network: Network) -> None:
    torch.manual_seed(0)
    true = targets((0, 30, 30, 14, 18, 0), (1, 60, 20, 25, 22, 1))
    raw = torch.randn(2, 2, 7, 8, 12, requires_grad=True)
    optimiser = torch.optim.Adam([raw], lr=0.1)
    first = yolo_loss([raw], true, network).item()
    for _ in range(200):
        optimiser.zero_grad()
        loss = yolo_loss([raw], true, network)
        loss.backward()
        optimiser.step()
    assert loss.item() < first / 100


def test_boxes_are_those_that_serving_decodes() -> None:
    network = load_network(SHAPES_CFG)
    torch.manual_seed(3)
    for layer in network.heads:
        op = layer.op
        assert isinstance(op, Head)
        raw = torch.randn(1, len(op.anchors), 5 + op.classes, layer.shape.height, layer.shape.width)
        ours = decode(raw, layer, network)[0].reshape(-1, 4).numpy()
        net = Size(network.input.width, network.input.height)
        theirs = serving.decode([op], [raw.flatten(1, 2)[0].numpy()], net, 0.0)
        np.testing.assert_allclose(theirs.centres * [*net, *net], ours, rtol=1e-4, atol=1e-3)


def test_a_stretched_cell_is_decoded_as_serving_does(tmp_path: Path) -> None:
    network = load_network(write_cfg(tmp_path, CFG.replace("num=2", "num=2\nscale_x_y=1.2")))
    (layer,) = network.heads
    torch.manual_seed(4)
    raw = torch.randn(1, 2, 7, 8, 12) * 2
    assert isinstance(layer.op, Head)
    theirs = serving.decode([layer.op], [raw.flatten(1, 2)[0].numpy()], Size(96, 64), 0.0)
    ours = decode(raw, layer, network)[0].reshape(-1, 4).numpy()
    np.testing.assert_allclose(theirs.centres * [96, 64, 96, 64], ours, rtol=1e-4, atol=1e-3)


def test_overlaps_by_hand() -> None:
    one = torch.tensor([10.0, 10.0, 10.0, 10.0])
    others = torch.tensor([[10.0, 10.0, 10.0, 10.0], [15.0, 10.0, 10.0, 10.0], [40.0, 10.0, 10.0, 10.0]])
    np.testing.assert_allclose(iou(one, others), [1, 50 / 150, 0], atol=1e-6)
    np.testing.assert_allclose(generalised_iou(one, others), [1, 50 / 150, -20 / 40], atol=1e-6)


@pytest.mark.data
def test_another_kind_of_head_is_refused() -> None:
    network = load_network(SHARED_DATA / "cfg" / "yolov2-tiny.cfg")
    with pytest.raises(TrainingError, match="only yolo heads are trained here"):
        yolo_loss([torch.zeros(1, 5, 85, 13, 13)], targets(), network)


def test_a_size_that_would_overflow_is_finite(network: Network) -> None:
    raw = quiet_head()
    raw[:, :, 2:4] = 1000.0
    assert math.isfinite(yolo_loss([raw], targets((0, 44, 20, 24, 24, 1)), network).item())
