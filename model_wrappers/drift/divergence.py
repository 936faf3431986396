"""How far two histograms are apart, and how far chance alone brings them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESAMPLES = 4000
BLOCK = 250  # resamples at a time: 2 MB of weights beside 1,000 photos
SEED = 20191031


def jensen_shannon(some: Floats, others: Floats) -> Floats:
    """Divergence in bits, 0 to 1, of counts [..., B] from counts [..., B]; 0 where one side counts nothing.

    J. Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37 (1991), (4.1) with
    equal weights. Unlike the population stability index it needs nothing made up for empty bins.
    """
    p, q = _shares(some), _shares(others)
    middle = (p + q) / 2
    apart = (_entropy(middle) - (_entropy(p) + _entropy(q)) / 2).clip(0.0, 1.0)
    is_known = (some.sum(-1) > 0) & (others.sum(-1) > 0)
    known: Floats = np.where(is_known, apart, 0.0)
    return known


def _shares(counts: Floats) -> Floats:
    total = counts.sum(-1, keepdims=True)
    shares: Floats = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    return shares


def _entropy(shares: Floats) -> Floats:
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: Floats = -(shares * logs).sum(-1)
    return entropy


def chance_thresholds(rows: Mapping[str, Floats], *, window: int, false_alarm: float) -> dict[str, float]:
    """For each feature, the divergence that a window of the same kind of photos is above with probability ``false_alarm``.

    ``rows``: feature → counts [photos, B] of a reference. A two-sample bootstrap over whole photos (Efron, Tibshirani 1993,
    chapter 16): ``window`` photos against as many as the reference has, both drawn from it. Detections of one photo belong
    together, so a test that takes each as independent would raise too many alarms.
    """
    random = np.random.default_rng(SEED)
    photos = len(next(iter(rows.values())))
    shares = np.full(photos, 1 / photos)
    found: dict[str, list[Floats]] = {feature: [] for feature in rows}
    for _ in range(RESAMPLES // BLOCK):
        windows, references = (
            random.multinomial(drawn, shares, BLOCK).astype(np.float64) for drawn in (window, photos)
        )
        for feature, counts in rows.items():
            found[feature].append(jensen_shannon(windows @ counts, references @ counts))
    place = min(math.ceil((RESAMPLES + 1) * (1 - false_alarm)), RESAMPLES) - 1
    return {feature: float(np.sort(np.concatenate(blocks))[place]) for feature, blocks in found.items()}
