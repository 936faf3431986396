from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.drill.interval import binomial_bounds


@pytest.mark.parametrize("share", [0, 1])
def test_share_of_nothing_and_all_is_exact(share: int) -> None:
    assert binomial_bounds(200, share) == (200 * share, 200 * share)


@given(st.integers(1, 60), st.floats(0.01, 0.99), st.sampled_from([0.2, 0.01, 1e-6]))
def test_bounds_hold_the_mass_they_promise(trials: int, share: float, miss: float) -> None:
    low, high = binomial_bounds(trials, share, miss=miss)
    chances = [math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(trials + 1)]
    assert sum(chances[:low]) <= miss / 2 + 1e-12
    assert sum(chances[high + 1 :]) <= miss / 2 + 1e-12
    assert sum(chances[: low + 1]) > miss / 2 - 1e-12
    assert sum(chances[high:]) > miss / 2 - 1e-12


def test_impossible_share_is_refused() -> None:
    with pytest.raises(ValueError, match="share=1.5"):
        binomial_bounds(10, 1.5)
