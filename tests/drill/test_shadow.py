"""Copies and hanging shadows."""

from __future__ import annotations

import pytest

from slipway.drill.shadow import inspect_mirroring, inspect_shadow
from slipway.drill.site import predictions_in
from slipway.drill.verdict import Act
from tests.drill.replies import reply

ACTS = [Act("a", 10.0, 15.0)]


@pytest.mark.parametrize(("hung_s", "is_harmed"), [(0.1, False), (0.19, False), (0.3, True)])
def test_live_requests_that_are_slower_while_the_shadow_hangs_are_a_problem(hung_s: float, is_harmed: bool) -> None:
    seen = [reply(number / 10, took=hung_s if 100 <= number < 150 else 0.1) for number in range(200)]
    found = inspect_shadow(seen, ACTS)
    assert found.notes == (f"live p99 {hung_s * 1000:.0f} ms while the shadow hangs, 100 ms before",)
    assert found.problems == (found.notes if is_harmed else ())


def test_shadow_that_hangs_twice_is_looked_at_twice_beside_what_was_before_the_first() -> None:
    twice = [*ACTS, Act("b", 30.0, 35.0)]
    seen = [reply(number / 10, took=0.1 if number < 100 else 0.3 if number < 350 else 0.1) for number in range(400)]
    (problem,) = inspect_shadow(seen, twice).problems
    assert problem == "live p99 300 ms while the shadow hangs, 100 ms before"
    late = [reply(number / 10, took=0.3 if 300 <= number < 350 else 0.1) for number in range(400)]
    assert inspect_shadow(late, twice).problems == (problem,)


@pytest.mark.parametrize("due", [5.0, 12.0, None])
def test_without_requests_before_or_meanwhile_nothing_is_shown(due: float | None) -> None:
    (problem,) = inspect_shadow([] if due is None else [reply(due)], ACTS).problems
    assert problem.startswith("nothing to compare")


@pytest.mark.parametrize(
    ("sent", "mirrored", "is_kept"), [(1000, 1000, True), (1000, 999, True), (1000, 998, False), (0, 0, False)]
)
def test_missing_copies_are_a_problem(sent: int, mirrored: int, is_kept: bool) -> None:
    assert (inspect_mirroring(sent, mirrored).problems == ()) is is_kept


def test_predictions_are_summed_over_codes() -> None:
    text = """# TYPE seldon_api_executor_server_requests_seconds histogram
seldon_api_executor_server_requests_seconds_count{code="200",method="post",service="predictions"} 7.0
seldon_api_executor_server_requests_seconds_count{code="503",method="post",service="predictions"} 2.0
seldon_api_executor_server_requests_seconds_count{code="200",method="post",service="feedback"} 1.0
seldon_api_executor_server_requests_seconds_sum{code="200",method="post",service="predictions"} 90.0
"""
    assert predictions_in(text) == 9
