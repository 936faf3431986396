"""What a fair split may look like: exact binomial bounds on a count."""

from __future__ import annotations

import math

MISS = 1e-6
"""How often a fair split may fall outside: once in a million runs."""


def binomial_bounds(trials: int, share: float, *, miss: float = MISS) -> tuple[int, int]:
    """The narrowest central (low, high) that a fair count hardly ever leaves.

    A count of Binomial(trials, share) falls below ``low``, and above ``high``, with probability at most ``miss`` / 2. A
    share of 0 or 1 allows exactly 0 or ``trials``.
    """
    if not 0 <= share <= 1 or trials < 0:
        raise ValueError(f"trials={trials}, share={share}: a count and a share from 0 to 1 are expected")
    low, high = _below(trials, share, miss / 2), trials - _below(trials, 1 - share, miss / 2)
    return low, high


def _below(trials: int, share: float, tail: float) -> int:
    """The largest count that less than ``tail`` of the mass lies below."""
    mass = 0.0
    for count in range(trials + 1):
        mass += _probability(trials, count, share)
        if mass > tail:
            return count
    return trials


def _probability(trials: int, count: int, share: float) -> float:
    if share in (0, 1):
        return float(count == trials * share)
    ways = math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
    return math.exp(ways + count * math.log(share) + (trials - count) * math.log1p(-share))
