from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from slipway.executor.quantiles import WINDOW_S, WINDOW_SAMPLES, QuantileSummary, quantile_of


@given(st.lists(st.floats(0, 10), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_quantile_is_a_value_with_at_least_that_share_at_or_below_it(values: list[float], quantile: float) -> None:
    found = quantile_of(sorted(values), quantile)
    assert found in values
    assert sum(value <= found for value in values) >= quantile * len(values) - 1e-9


def test_summary_forgets_old_samples_but_counts_them() -> None:
    now, registry = [0.0], CollectorRegistry()
    summary = QuantileSummary("wait_seconds", "text", ("node",), registry=registry, clock=lambda: now[0])
    summary.observe(("a",), 1.0)
    assert registry.get_sample_value("wait_seconds", {"node": "a", "quantile": "1"}) == 1.0
    now[0] = WINDOW_S + 1
    value = registry.get_sample_value("wait_seconds", {"node": "a", "quantile": "1"})
    assert value is not None
    assert math.isnan(value)
    assert registry.get_sample_value("wait_seconds_count", {"node": "a"}) == 1
    assert b"# TYPE wait_seconds summary" in generate_latest(registry)


def test_summary_s_window_is_bounded() -> None:
    registry = CollectorRegistry()
    summary = QuantileSummary("wait_seconds", "text", (), registry=registry)
    for number in range(WINDOW_SAMPLES * 2):
        summary.observe((), float(number))
    assert registry.get_sample_value("wait_seconds", {"quantile": "0.5"}) == WINDOW_SAMPLES * 1.5 - 1
