"""Train models/shapes: ``python -m models.shapes.train --steps 6000 --to models/shapes/v2/shapes.weights``.

Needs PyTorch (``pip install torch==2.13.0``), which nothing else in the repository does. A seed and a machine give one
file; another processor may round differently.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.layers import Network
from model_wrappers.darknet.training.loss import Targets, yolo_loss
from model_wrappers.darknet.training.module import DarknetModule
from model_wrappers.darknet.weights import Weights, WeightsHeader, write_weights
from models.shapes.draw import HEIGHT, WIDTH, Drawn, draw

HERE = Path(__file__).parent
BATCH = 16
PEAK_RATE = 2e-3
WEIGHT_DECAY = 5e-4
WARM_UP = 0.05  # of all steps
GRADIENT_LIMIT = 10.0
GREY = 128
REPORT_EVERY = 50


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6000, help="batches of 16 photos (default 6000)")
    parser.add_argument("--photos", type=int, default=4000, help="drawn photos to choose from (default 4000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--to", type=Path, required=True, help="the .weights file to write")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    network = load_network(HERE / "shapes.cfg")
    print(f"drawing {arguments.photos} photos", flush=True)
    photos = [letterboxed(draw(seed), network) for seed in range(arguments.photos)]
    module = train(network, photos, steps=arguments.steps, seed=arguments.seed)
    arguments.to.parent.mkdir(parents=True, exist_ok=True)
    header = WeightsHeader(seen=arguments.steps * BATCH)
    write_weights(arguments.to, network, Weights(header, module.parameters_by_layer()))
    print(f"wrote {arguments.to}")
    return 0


def letterboxed(drawn: Drawn, network: Network) -> Drawn:
    """The photo scaled into the network's input, grey around it, boxes moved along."""
    side = (network.input.width, network.input.height)
    scale = min(side[0] / WIDTH, side[1] / HEIGHT)
    size = (round(WIDTH * scale), round(HEIGHT * scale))
    left, top = (side[0] - size[0]) // 2, (side[1] - size[1]) // 2
    pixels = np.full((side[1], side[0], 3), GREY, dtype=np.uint8)
    pixels[top : top + size[1], left : left + size[0]] = cv2.resize(drawn.pixels, size, interpolation=cv2.INTER_LINEAR)
    return Drawn(pixels, drawn.boxes * scale + (left, top, left, top), drawn.classes)


def train(network: Network, photos: list[Drawn], *, steps: int, seed: int) -> DarknetModule:
    """Adam with a one-cycle rate; prints loss and time left."""
    module = DarknetModule(network).train()
    optimiser = torch.optim.AdamW(module.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=steps, pct_start=WARM_UP)
    rng = np.random.default_rng(seed)
    started, losses = time.monotonic(), []
    for step in range(1, steps + 1):
        images, targets = batch([photos[index] for index in rng.integers(len(photos), size=BATCH)], rng)
        loss = yolo_loss(module(images), targets, network)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), GRADIENT_LIMIT)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % REPORT_EVERY == 0 or step == steps:
            left = (time.monotonic() - started) / step * (steps - step)
            print(f"step {step}/{steps}  loss {np.mean(losses[-REPORT_EVERY:]):.3f}  {left:.0f} s left", flush=True)
    return module.eval()


def batch(photos: list[Drawn], rng: np.random.Generator) -> tuple[torch.Tensor, Targets]:
    """Images float [N, 3, H, W] in 0..1, each mirrored by chance, and their boxes."""
    pictures, indices, boxes, labels = [], [], [], []
    for index, photo in enumerate(photos):
        pixels, corners = mirrored(photo) if rng.random() < 0.5 else (photo.pixels, photo.boxes)
        pictures.append(pixels)
        indices.append(np.full(len(corners), index))
        boxes.append(np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1))
        labels.append(photo.classes)
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().float() / 255
    targets = Targets(
        photo=torch.from_numpy(np.concatenate(indices)).long(),
        box=torch.from_numpy(np.concatenate(boxes)).float(),
        label=torch.from_numpy(np.concatenate(labels)).long(),
    )
    return images, targets


def mirrored(photo: Drawn) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    width = photo.pixels.shape[1]
    left, top, right, bottom = photo.boxes.T
    return photo.pixels[:, ::-1], np.stack([width - right, top, width - left, bottom], axis=1)


if __name__ == "__main__":
    sys.exit(main())
