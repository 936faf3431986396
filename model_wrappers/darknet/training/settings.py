"""What a training is told: one table, from which the command line's options, checks and help are made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from model_wrappers.darknet.training.augment import MIRRORED, Augmentation
from model_wrappers.darknet.training.errors import TrainingError

CHECKPOINT_EVERY_S = 60.0
DEVICES = ("auto", "cpu", "cuda")


def _setting(default: Any, text: str, low: float, high: float) -> Any:
    return field(default=default, metadata={"help": text, "low": low, "high": high})


@dataclass(frozen=True)
class Settings:
    """Numbers outside their range raise TrainingError, which names the setting and the range."""

    epochs: int = _setting(100, "times that every photo is looked at", 1, 100_000)
    batch: int = _setting(16, "photos in one step", 1, 1024)
    rate: float = _setting(2e-3, "highest learning rate of AdamW", 1e-7, 1.0)
    final_rate: float = _setting(0.02, "share of it at the end of the cosine", 0.0, 1.0)
    warm_up: float = _setting(0.05, "share of all steps in which the rate rises", 0.0, 0.9)
    weight_decay: float = _setting(5e-4, "pull of the kernels towards 0", 0.0, 1.0)
    average: float = _setting(
        0.998, "decay of the averaged weights (EMA), which are the result; 0 for none", 0.0, 0.99999
    )
    validate_every: int = _setting(5, "epochs between two measurements of mAP", 1, 100_000)
    seed: int = _setting(1, "the same seed, data and machine give the same weights", 0, 2**31 - 1)
    augmentation: Augmentation = MIRRORED

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            if not one.metadata:
                continue
            value, low, high = getattr(self, one.name), one.metadata["low"], one.metadata["high"]
            if not low <= value <= high:
                raise TrainingError(f"{one.name}={value}: {low:g} to {high:g} is possible")

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


DEFAULTS = Settings()
