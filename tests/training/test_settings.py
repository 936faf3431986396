"""Settings, and the learning rate that follows from them."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_wrappers.darknet.training.errors import TrainingError
from model_wrappers.darknet.training.schedule import rate_at
from model_wrappers.darknet.training.settings import DEFAULTS, Settings


@pytest.mark.parametrize(
    "values", [{"epochs": 0}, {"batch": 2000}, {"rate": 0.0}, {"rate": float("nan")}, {"average": 1.0}, {"seed": -1}]
)
def test_a_number_outside_its_range_is_named_with_the_range(values: dict[str, float]) -> None:
    (name,) = values
    with pytest.raises(TrainingError, match=f"{name}=.* is possible"):
        dataclasses.replace(DEFAULTS, **values)


def test_the_rate_rises_then_falls_to_its_share() -> None:
    settings = Settings(rate=1.0, warm_up=0.1, final_rate=0.01)
    rates = [rate_at(step, 1000, settings) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[:100] == sorted(rates[:100])
    assert max(rates) == rates[99] == rates[100] == 1.0
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[550] == pytest.approx(0.505)
    assert rates[-1] == pytest.approx(0.01, abs=1e-4)


@given(st.integers(1, 500), st.floats(0, 0.9), st.floats(0, 1))
def test_the_rate_is_always_above_zero_and_at_most_the_highest(steps: int, warm_up: float, final: float) -> None:
    settings = Settings(rate=0.5, warm_up=warm_up, final_rate=final)
    assert all(0 < rate_at(step, steps, settings) <= 0.5 for step in range(steps))
