"""mAP of a module that is still being trained: PyTorch's raw heads through the library's own decoding and NMS."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from model_wrappers.darknet.boxes import Detection
from model_wrappers.darknet.decode import decode
from model_wrappers.darknet.detections import to_detections
from model_wrappers.darknet.layers import Head
from model_wrappers.darknet.letterbox import Size, letterbox
from model_wrappers.darknet.training.batches import to_images
from model_wrappers.darknet.training.module import DarknetModule
from model_wrappers.darknet.training.photos import LabelledPhoto, PhotoSet
from model_wrappers.darknet.training.precision import CONFIDENCE, Precision, measure

BATCH = 16
IOU = 0.45  # of NMS, as a detector has it unless told otherwise


def module_precision(module: DarknetModule, photos: PhotoSet) -> Precision:
    """``module`` in evaluation mode; the photos are letterboxed as they are when it is served."""
    return measure(_detected(module, photos), photos.names)


@torch.no_grad()
def _detected(module: DarknetModule, photos: PhotoSet) -> Iterator[tuple[LabelledPhoto, list[Detection]]]:
    network = module.network
    net = Size(network.input.width, network.input.height)
    device = next(module.parameters()).device
    heads: list[Head] = [layer.op for layer in network.heads if isinstance(layer.op, Head)]
    for first in range(0, len(photos), BATCH):
        labelled = [photos.read(index) for index in range(first, min(first + BATCH, len(photos)))]
        images = to_images([letterbox(photo.pixels, net) for photo in labelled]).to(device)
        raw = [head.flatten(1, 2).float().cpu().numpy() for head in module(images)]
        for place, photo in enumerate(labelled):
            size = Size(photo.pixels.shape[1], photo.pixels.shape[0])
            candidates = decode(heads, [output[place] for output in raw], net, CONFIDENCE)
            found = to_detections(candidates, names=photos.names, photo=size, net=net, iou=IOU, nms="sort", clip=True)
            yield photo, found
