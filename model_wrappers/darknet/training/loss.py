"""The YOLOv3 loss: one anchor answers for each box, the rest learn that nothing is there.

After Redmon and Farhadi, "YOLOv3: An Incremental Improvement" (2018), section 2, with the generalised IoU of
Rezatofighi et al. (2019) in place of squared coordinate errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from model_wrappers.darknet.layers import Layer, Network, Yolo
from model_wrappers.darknet.training.errors import TrainingError

IGNORE_IOU = 0.5  # a free anchor whose box overlaps a true one this much is not told that nothing is there
BOX_WEIGHT, OBJECT_WEIGHT, CLASS_WEIGHT = 2.0, 1.0, 0.5
MAX_LOG_SIZE = 6.0  # exp() of more is a box of 400 anchors: let nothing overflow early in training


@dataclass(frozen=True)
class Targets:
    """The true boxes of one batch.

    ``photo`` [n] index, ``box`` [n, 4] centre x, y, width, height in network pixels,
    ``label`` [n].
    """

    photo: Tensor
    box: Tensor
    label: Tensor

    def to(self, device: torch.device) -> Targets:
        return Targets(self.photo.to(device), self.box.to(device), self.label.to(device))


def yolo_loss(heads: Sequence[Tensor], targets: Targets, network: Network) -> Tensor:
    """A scalar, averaged over photos."""
    anchors = heads[0].new_tensor([anchor for layer in network.heads for anchor in _yolo(layer).anchors])
    best = _shape_iou(targets.box[:, 2:], anchors).argmax(dim=1)
    total = heads[0].new_zeros(())
    first = 0
    for raw, layer in zip(heads, network.heads, strict=True):
        count = len(_yolo(layer).anchors)
        mine = (best >= first) & (best < first + count)
        total = total + _head_loss(raw, targets, mine, best - first, layer, network)
        first += count
    return total / heads[0].shape[0]


def _yolo(layer: Layer) -> Yolo:
    if not isinstance(layer.op, Yolo):
        raise TrainingError(f"layer {layer.index} [{layer.kind}]: only yolo heads are trained here")
    return layer.op


def _head_loss(raw: Tensor, targets: Targets, mine: Tensor, anchor: Tensor, layer: Layer, network: Network) -> Tensor:
    boxes = decode(raw, layer, network)
    objectness = raw[:, :, 4]
    wanted = torch.zeros_like(objectness)
    counted = _free_of_truth(boxes, targets)
    loss = raw.new_zeros(())
    if mine.any():
        height, width = raw.shape[3:]
        column = (targets.box[mine, 0] / network.input.width * width).long().clamp(0, width - 1)
        row = (targets.box[mine, 1] / network.input.height * height).long().clamp(0, height - 1)
        place = (targets.photo[mine], anchor[mine], row, column)
        overlap = generalised_iou(boxes[place], targets.box[mine])
        classes = torch.nn.functional.one_hot(targets.label[mine], _yolo(layer).classes).to(raw.dtype)
        scores = raw[:, :, 5:].permute(0, 1, 3, 4, 2)[place]
        loss = BOX_WEIGHT * (1 - overlap).sum()
        loss = loss + CLASS_WEIGHT * cross_entropy(scores, classes, reduction="sum")
        wanted[place] = 1.0
        counted[place] = 1.0
    return loss + OBJECT_WEIGHT * (cross_entropy(objectness, wanted, reduction="none") * counted).sum()


def decode(raw: Tensor, layer: Layer, network: Network) -> Tensor:
    """Boxes [N, anchors, h, w, 4] as centre x, y, width, height in network pixels."""
    height, width = raw.shape[3:]
    op = _yolo(layer)
    anchors = raw.new_tensor(op.anchors).view(1, -1, 1, 1, 2)
    places = (torch.arange(side, device=raw.device) for side in (height, width))
    rows, columns = torch.meshgrid(*places, indexing="ij")
    offset = (raw[:, :, :2].sigmoid() - 0.5) * op.scale_x_y + 0.5
    x = (offset[:, :, 0] + columns) * (network.input.width / width)
    y = (offset[:, :, 1] + rows) * (network.input.height / height)
    size = raw[:, :, 2:4].clamp(max=MAX_LOG_SIZE).exp().permute(0, 1, 3, 4, 2) * anchors
    return torch.cat([x.unsqueeze(-1), y.unsqueeze(-1), size], dim=-1)


@torch.no_grad()
def _free_of_truth(boxes: Tensor, targets: Targets) -> Tensor:
    """1 where an anchor's box overlaps no true box of its photo by ``IGNORE_IOU``, else 0."""
    free = boxes.new_ones(boxes.shape[:-1])
    for photo in range(len(boxes)):  # photo by photo: all of them at once would be a large table
        mine = targets.box[targets.photo == photo]
        if len(mine):
            free[photo] = (iou(boxes[photo].unsqueeze(-2), mine).amax(dim=-1) <= IGNORE_IOU).to(free.dtype)
    return free


def _shape_iou(sizes: Tensor, anchors: Tensor) -> Tensor:
    """IoU [n, anchors] of boxes laid on one centre."""
    common = torch.minimum(sizes[:, None], anchors[None]).prod(dim=2)
    return common / (sizes.prod(dim=1)[:, None] + anchors.prod(dim=1)[None] - common)


def _corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Of centre boxes, broadcast."""
    (low_a, high_a), (low_b, high_b) = _corners(first), _corners(second)
    common = (torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)).clamp(min=0).prod(dim=-1)
    return common / (first[..., 2:].prod(dim=-1) + second[..., 2:].prod(dim=-1) - common + 1e-9)


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU minus the share of the enclosing box that neither covers; -1..1."""
    (low_a, high_a), (low_b, high_b) = _corners(first), _corners(second)
    common = (torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)).clamp(min=0).prod(dim=-1)
    union = first[..., 2:].prod(dim=-1) + second[..., 2:].prod(dim=-1) - common + 1e-9
    around = (torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)).prod(dim=-1) + 1e-9
    return common / union - (around - union) / around
