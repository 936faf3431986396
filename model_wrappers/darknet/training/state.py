"""What changes from step to step of a training, and as a checkpoint."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from model_wrappers.darknet.layers import Network
from model_wrappers.darknet.letterbox import Size
from model_wrappers.darknet.training.batches import Batch, Batches
from model_wrappers.darknet.training.checkpoint import Checkpoint, EpochMetrics
from model_wrappers.darknet.training.ema import AveragedModule
from model_wrappers.darknet.training.errors import TrainingError
from model_wrappers.darknet.training.loss import yolo_loss
from model_wrappers.darknet.training.module import DarknetModule
from model_wrappers.darknet.training.photos import PhotoSet
from model_wrappers.darknet.training.schedule import rate_at
from model_wrappers.darknet.training.settings import Settings
from model_wrappers.darknet.training.validation import module_precision
from model_wrappers.darknet.weights import load_weights

GRADIENT_LIMIT = 10.0  # norm


class TrainingState:
    """Weights, their average, the optimiser, and how far it is. ``done`` counts steps."""

    def __init__(self, network: Network, photos: PhotoSet, settings: Settings, device: torch.device) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.device = device
        self.network = network
        self.batches = Batches(photos, Size(network.input.width, network.input.height), settings)
        module = DarknetModule(network).to(device)
        self.module = module.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]  # its stub
        self.average = AveragedModule(self.module, settings.average)
        self.optimiser = torch.optim.AdamW(_groups(self.module, settings.weight_decay), lr=settings.rate)
        self.done = 0
        self.losses: list[float] = []
        self.history: list[EpochMetrics] = []

    def begin_with(self, weights: Path) -> None:
        self.module.load_learned(load_weights(weights, self.network).parameters)
        self.average = AveragedModule(self.module, self.settings.average)

    def learn(self, batch: Batch) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.done, self.batches.steps, self.settings)
        try:
            value = self._step(batch)
        except torch.OutOfMemoryError as exc:
            raise TrainingError(
                f"step {self.done}: the GPU's memory does not hold {self.batches.size} photos of this network at once: "
                "try a smaller batch"
            ) from exc
        self.average.update(self.module)
        self.done += 1
        self.losses.append(value)
        return value

    def _step(self, batch: Batch) -> float:
        heads = self.module(batch.images.to(self.device))
        loss = yolo_loss(heads, batch.targets.to(self.device), self.network)
        value = float(loss.item())
        if not math.isfinite(value):
            raise TrainingError(f"step {self.done}: the loss is {value}: try a lower rate than {self.settings.rate:g}")
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), GRADIENT_LIMIT)
        self.optimiser.step()
        return value

    def end_epoch(self, validation: PhotoSet | None) -> EpochMetrics:
        number = self.done // self.batches.per_epoch
        rate = rate_at(self.done - 1, self.batches.steps, self.settings)
        metrics = EpochMetrics(number, float(np.mean(self.losses)), rate)
        is_due = number % self.settings.validate_every == 0 or number == self.settings.epochs
        if validation is not None and is_due:
            found = module_precision(self.average.module, validation)
            metrics = EpochMetrics(number, metrics.loss, rate, found.map50, found.classes)
        self.losses.clear()
        self.history.append(metrics)
        return metrics

    def checkpoint(self, fingerprint: str, run: str) -> Checkpoint:
        return Checkpoint(
            fingerprint=fingerprint,
            step=self.done,
            losses=tuple(self.losses),
            history=tuple(self.history),
            run=run,
            module=self.module.state_dict(),
            average=self.average.module.state_dict(),
            updates=self.average.updates,
            optimiser=self.optimiser.state_dict(),
            random=torch.get_rng_state(),
        )

    def load(self, checkpoint: Checkpoint) -> None:
        self.module.load_state_dict(checkpoint.module)
        self.average.module.load_state_dict(checkpoint.average)
        self.average.updates = checkpoint.updates
        self.optimiser.load_state_dict(checkpoint.optimiser)
        torch.set_rng_state(checkpoint.random)
        self.done = checkpoint.step
        self.losses = list(checkpoint.losses)
        self.history = list(checkpoint.history)


def _groups(module: DarknetModule, weight_decay: float) -> list[dict[str, object]]:
    """Kernels are pulled towards 0; biases and the scales of batch norm are not."""
    kernels = [one for one in module.parameters() if one.ndim > 1]
    others = [one for one in module.parameters() if one.ndim <= 1]
    return [{"params": kernels, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
