"""Counts of the photos of one window; when it is full, a verdict, and the next one begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_wrappers.drift.divergence import jensen_shannon

Floats = npt.NDArray[np.float64]

ROUNDING = 1e-9  # bits: where all photos of a reference are alike, the threshold is 0


@dataclass(frozen=True)
class Verdict:
    """One feature of one full window."""

    divergence: float
    threshold: float

    @property
    def is_alarm(self) -> bool:
        return self.divergence > self.threshold + ROUNDING


class Window:
    """Of the features that ``reference`` has; what it holds does not grow with the photos."""

    def __init__(self, photos: int, reference: Mapping[str, Floats], thresholds: Mapping[str, float]) -> None:
        """``reference``: feature → counts [B]."""
        self._photos, self._reference, self._thresholds = photos, dict(reference), dict(thresholds)
        self._begin()

    def _begin(self) -> None:
        self._counted = 0
        self._counts = {feature: np.zeros_like(counts) for feature, counts in self._reference.items()}

    def add(self, rows: Mapping[str, Floats]) -> dict[str, Verdict]:
        """One photo; the verdict of each feature where it fills the window, else nothing."""
        for feature, row in rows.items():
            self._counts[feature] += row
        self._counted += 1
        if self._counted < self._photos:
            return {}
        verdicts = {
            feature: Verdict(float(jensen_shannon(counts, self._reference[feature])), self._thresholds[feature])
            for feature, counts in self._counts.items()
        }
        self._begin()
        return verdicts
