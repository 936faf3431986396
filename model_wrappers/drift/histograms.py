"""Photos → one row of counts for each feature, in bins that a reference gives."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_wrappers.drift.facts import Seen
from model_wrappers.drift.reference import Reference

Floats = npt.NDArray[np.float64]

CLASSES, COUNTS, SCORES, SIZES, BRIGHTNESS = "classes", "counts", "scores", "sizes", "brightness"
OF_DETECTIONS = (CLASSES, COUNTS, SCORES, SIZES)
FEATURES = (*OF_DETECTIONS, BRIGHTNESS)
COUNT_EDGES = (1, 2, 3, 4, 5, 8, 16, 32)  # detections of a photo
BINS = 10  # of a reference's values: as many in each


@dataclass(frozen=True)
class Bins:
    """Lower edges of all bins but the first, by feature; ``labels`` has a bin each, and so have other labels and nothing."""

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    sides: tuple[float, ...]
    brightness: tuple[float, ...]

    @classmethod
    def of(cls, reference: Reference, *, above: float) -> Bins:
        """As many values of the reference in each bin, of detections above a confidence."""
        found = [one for photo in reference.photos for one in photo.detections if one.confidence > above]
        return cls(
            reference.labels,
            _tenths([one.confidence for one in found]),
            _tenths([one.side for one in found]),
            _tenths([photo.brightness for photo in reference.photos]),
        )

    def of_detections(self, found: Sequence[Seen]) -> dict[str, Floats]:
        """One row of counts for each of ``OF_DETECTIONS``, of one photo."""
        place = {label: index for index, label in enumerate(self.labels)}
        other, nothing = len(place), len(place) + 1
        labels = [place.get(one.label, other) for one in found] or [nothing]
        return {
            CLASSES: _row(labels, nothing + 1),
            COUNTS: _row([bisect_right(COUNT_EDGES, len(found))], len(COUNT_EDGES) + 1),
            SCORES: _row([bisect_right(self.scores, one.confidence) for one in found], len(self.scores) + 1),
            SIZES: _row([bisect_right(self.sides, one.side) for one in found], len(self.sides) + 1),
        }

    def of_brightness(self, level: float) -> dict[str, Floats]:
        """The row of one photo's brightness."""
        return {BRIGHTNESS: _row([bisect_right(self.brightness, level)], len(self.brightness) + 1)}


def rows_of(reference: Reference, bins: Bins, *, above: float) -> dict[str, Floats]:
    """Feature → counts [photos, bins] of all photos of a reference."""
    rows = [
        {
            **bins.of_detections([one for one in photo.detections if one.confidence > above]),
            **bins.of_brightness(photo.brightness),
        }
        for photo in reference.photos
    ]
    return {feature: np.stack([row[feature] for row in rows]) for feature in FEATURES}


def _row(places: Sequence[int], bins: int) -> Floats:
    return np.bincount(places, minlength=bins).astype(np.float64)


def _tenths(values: Sequence[float]) -> tuple[float, ...]:
    """Edges between tenths of the values. One that makes up more than a tenth has a bin of its own."""
    if not values:
        return ()
    edges, times = np.unique(np.quantile(values, np.arange(1, BINS) / BINS, method="higher"), return_counts=True)
    return tuple(np.union1d(edges, np.nextafter(edges[times > 1], np.inf)).tolist())
