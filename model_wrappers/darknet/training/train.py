"""A cfg and labelled photos → learned weights, step by step, from the start or from a checkpoint."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from model_wrappers.darknet.cfg import load_network
from model_wrappers.darknet.layers import Network
from model_wrappers.darknet.training.checkpoint import Checkpoint, EpochMetrics
from model_wrappers.darknet.training.errors import CheckpointError, Interrupted, TrainingError
from model_wrappers.darknet.training.module import DarknetModule, check_norms
from model_wrappers.darknet.training.photos import PhotoSet
from model_wrappers.darknet.training.settings import CHECKPOINT_EVERY_S, DEFAULTS, DEVICES, Settings
from model_wrappers.darknet.training.state import TrainingState


class Observer(Protocol):
    """Is told how a training goes."""

    def step(self, done: int, steps: int, loss: float) -> None: ...

    def epoch(self, metrics: EpochMetrics, epochs: int) -> None: ...


@dataclass(frozen=True)
class Upkeep:
    """What happens beside the learning, without changing its result.

    ``keep`` is given a checkpoint every ``every_s`` seconds, at the end, and once more where ``stop`` says True;
    ``run`` is written into it.
    """

    observers: Sequence[Observer] = ()
    keep: Callable[[Checkpoint], None] | None = None
    every_s: float = CHECKPOINT_EVERY_S
    stop: Callable[[], bool] = field(default=lambda: False)
    run: str = ""


NO_UPKEEP = Upkeep()


@dataclass(frozen=True, eq=False)
class Prepared:
    """A training of which everything was checked that can be checked before the first step."""

    state: TrainingState
    validation: PhotoSet | None
    fingerprint: str

    def checkpoint(self, run: str) -> Checkpoint:
        """As it stands now."""
        return self.state.checkpoint(self.fingerprint, run)


@dataclass(frozen=True, eq=False)
class Trained:
    """``module`` holds the averaged weights; ``seen`` counts pictures; ``run`` is the MLflow run's id or empty."""

    network: Network
    module: DarknetModule
    history: tuple[EpochMetrics, ...]
    seen: int
    run: str = ""


def train(
    cfg: Path,
    photos: PhotoSet,
    *,
    settings: Settings = DEFAULTS,
    validation: PhotoSet | None = None,
    device: str = "auto",
    start: Path | None = None,
    resume: Checkpoint | None = None,
    upkeep: Upkeep = NO_UPKEEP,
) -> Trained:
    """Learn ``settings.epochs`` epochs; mAP of ``validation`` is measured every few of them and at the end.

    ``start`` is a ``.weights`` file of the same cfg to begin with; ``resume`` a checkpoint of the same training.
    With the same seed, device and number of threads a training with breaks gives what one without gives.

    Raises:
        CfgError, WeightsError, DataSetError: a file is not what it should be. CheckpointError: ``resume`` is of
        another training. TrainingError: the loss is no number any more. Interrupted: ``upkeep.stop`` said so.
    """
    prepared = prepare(cfg, photos, settings=settings, validation=validation, device=device, start=start, resume=resume)
    return learn(prepared, upkeep)


def prepare(
    cfg: Path,
    photos: PhotoSet,
    *,
    settings: Settings = DEFAULTS,
    validation: PhotoSet | None = None,
    device: str = "auto",
    start: Path | None = None,
    resume: Checkpoint | None = None,
) -> Prepared:
    """``train`` up to its first step; raises what that raises, but for what only learning can show."""
    network = load_network(cfg)
    _check_names(network, photos, validation)
    training = TrainingState(network, photos, settings, choose_device(device))
    check_norms(network, training.batches.size)
    fingerprint = _fingerprint(cfg, photos, settings, start)
    if resume is not None:
        _check_resumable(resume, fingerprint)
        training.load(resume)
    elif start is not None:
        training.begin_with(start)
    return Prepared(training, validation, fingerprint)


def learn(prepared: Prepared, upkeep: Upkeep = NO_UPKEEP) -> Trained:
    """All steps that are still to be done."""
    training = prepared.state
    _run(prepared, upkeep)
    seen = training.done * training.batches.size
    return Trained(training.network, training.average.module, tuple(training.history), seen)


def choose_device(name: str) -> torch.device:
    """``auto`` is the GPU where there is one. Raises TrainingError."""
    if name not in DEVICES:
        raise TrainingError(f"device={name!r} is not one of {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device='cuda': PyTorch finds no GPU here")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _run(prepared: Prepared, upkeep: Upkeep) -> None:
    training = prepared.state
    kept_at = time.monotonic()
    for batch in training.batches.from_step(training.done):
        loss = training.learn(batch)
        for observer in upkeep.observers:
            observer.step(training.done, training.batches.steps, loss)
        if training.done % training.batches.per_epoch == 0:
            metrics = training.end_epoch(prepared.validation)
            for observer in upkeep.observers:
                observer.epoch(metrics, training.settings.epochs)
        stopping, ended = upkeep.stop(), training.done == training.batches.steps
        if upkeep.keep and (stopping or ended or time.monotonic() - kept_at >= upkeep.every_s):
            upkeep.keep(prepared.checkpoint(upkeep.run))
            kept_at = time.monotonic()
        if stopping and not ended:
            raise Interrupted(f"stopped after step {training.done} of {training.batches.steps}")


def _check_names(network: Network, photos: PhotoSet, validation: PhotoSet | None) -> None:
    if len(photos.names) != network.classes:
        raise TrainingError(
            f"{network.path}: classes={network.classes}, but the photos have {len(photos.names)}: "
            f"{', '.join(photos.names)}"
        )
    twice = sorted(name for name, count in Counter(photos.names).items() if count > 1)
    if twice:
        raise TrainingError(f"the classes {', '.join(twice)} are there twice: each needs a name of its own")
    if validation is not None and validation.names != photos.names:
        raise TrainingError(
            f"validation has the classes {', '.join(validation.names)}: those of the photos are expected"
        )


def _fingerprint(cfg: Path, photos: PhotoSet, settings: Settings, start: Path | None) -> str:
    begun = hashlib.sha256(start.read_bytes()).hexdigest() if start else ""
    parts = [hashlib.sha256(cfg.read_bytes()).hexdigest(), photos.fingerprint, settings.to_json(), begun]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _check_resumable(checkpoint: Checkpoint, fingerprint: str) -> None:
    if checkpoint.fingerprint != fingerprint:
        raise CheckpointError(
            "the checkpoint is of a training with another cfg, other settings, photos or starting weights: "
            "give the same ones, or another place for the checkpoint"
        )
