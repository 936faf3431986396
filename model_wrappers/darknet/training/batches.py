"""Photos → the batches of one step, the same for the same seed and step, whatever happened before.

Chance is drawn anew for each step from (seed, step), so that a training that goes on from a checkpoint sees what one
without a break would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model_wrappers.darknet.letterbox import Size
from model_wrappers.darknet.training.augment import augmented
from model_wrappers.darknet.training.errors import TrainingError
from model_wrappers.darknet.training.loss import Targets
from model_wrappers.darknet.training.photos import LabelledPhoto, PhotoSet, letterboxed
from model_wrappers.darknet.training.settings import Settings

CACHE_BYTES = 1 << 30  # letterboxed photos that are kept; the rest is read again each time
LOADERS = 2  # threads that prepare the next batch while this one is learned


@dataclass(frozen=True)
class Batch:
    """``images`` float [N, 3, H, W] in 0..1."""

    images: torch.Tensor
    targets: Targets


class Batches:
    """The batches of a training, in order."""

    def __init__(self, photos: PhotoSet, net: Size, settings: Settings) -> None:
        if len(photos) == 0:
            raise TrainingError("a training needs at least one photo")
        self.photos = photos
        self.net = net
        self.settings = settings
        self.size = min(settings.batch, len(photos))
        self.per_epoch = len(photos) // self.size
        self.steps = self.per_epoch * settings.epochs
        self._kept: dict[int, LabelledPhoto] = {}

    def from_step(self, first: int) -> Iterator[Batch]:
        """Batches of the steps from ``first`` on; the next one is prepared while this one is used."""
        with ThreadPoolExecutor(LOADERS) as pool:
            coming = self._prepare(first, pool)
            for step in range(first, self.steps):
                now, coming = coming, self._prepare(step + 1, pool)
                yield to_batch([one.result() for one in now])

    def _prepare(self, step: int, pool: ThreadPoolExecutor) -> list[Future[LabelledPhoto]]:
        if step >= self.steps:
            return []
        return [pool.submit(self._one, index, step, place) for place, index in enumerate(self._indices(step))]

    def _indices(self, step: int) -> list[int]:
        epoch, within = divmod(step, self.per_epoch)
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(len(self.photos))
        return [int(index) for index in order[within * self.size : (within + 1) * self.size]]

    def _one(self, index: int, step: int, place: int) -> LabelledPhoto:
        rng = np.random.default_rng([self.settings.seed, step, place])
        return augmented(self._letterboxed(index), self.settings.augmentation, rng)

    def _letterboxed(self, index: int) -> LabelledPhoto:
        found = self._kept.get(index)
        if found is None:
            found = letterboxed(self.photos.read(index), self.net)
            if (len(self._kept) + 1) * found.pixels.nbytes <= CACHE_BYTES:
                self._kept[index] = found
        return found


def to_batch(photos: list[LabelledPhoto]) -> Batch:
    """Letterboxed photos of one size → tensors."""
    indices = np.concatenate([np.full(len(photo.boxes), index) for index, photo in enumerate(photos)])
    targets = Targets(
        photo=torch.from_numpy(indices).long(),
        box=torch.from_numpy(np.concatenate([_centres(photo.boxes) for photo in photos])).float(),
        label=torch.from_numpy(np.concatenate([photo.classes for photo in photos])).long(),
    )
    return Batch(to_images([photo.pixels for photo in photos]), targets)


def to_images(pixels: list[NDArray[np.uint8]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255


def _centres(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
