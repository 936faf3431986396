"""Goodput, prompt refusals, and the way back."""

from __future__ import annotations

import pytest

from slipway.drill.overload import Overload
from slipway.drill.reply import Effort
from slipway.drill.verdict import Promise, judge
from tests.drill.replies import MODEL, detection, reply

REST = {(MODEL, 0): (detection(),)}
TWICE = Overload(2.0, peaks=(11.0, 10.0), start=10.0, end=20.0)


EXCESS = [reply(number / 12, status=429, took=0.01) for number in range(120, 240)]
"""What makes 22 requests a second of the 10 that the tests answer."""


def test_goodput_counts_valid_replies_while_it_lasts() -> None:
    seen = [reply(number / 10) for number in range(90, 300)]
    assert TWICE.goodput(seen) == pytest.approx(10.0)
    assert TWICE.inspect([*seen, *EXCESS], seen).problems == ()
    bad = [reply(number / 10, status=429 if number % 2 else 200) for number in range(90, 300)]
    (problem,) = TWICE.inspect([*bad, *EXCESS], bad).problems
    assert problem == "goodput 5.0/s of 10.5/s at the peak: 48%, 90% promised"


def test_generator_that_cannot_send_what_was_ordered_shows_nothing() -> None:
    seen = [reply(number / 10) for number in range(90, 300)]
    assert TWICE.inspect([*seen, *EXCESS[:60]], seen).problems == ("the generator sent 16.0/s of 22.0/s",)


def test_a_peak_that_does_not_come_back_is_a_broken_promise() -> None:
    seen = [reply(number / 10) for number in range(90, 300)]
    harmed = Overload(2.0, peaks=(11.0, 9.8), start=10.0, end=20.0)
    assert harmed.inspect([*seen, *EXCESS], seen).problems == ("the peak was 11.0/s, and is 9.8/s after it",)


@pytest.mark.parametrize(("last", "asked"), [(24.9, "4.9"), (15.0, "-5.0"), (25.0, "")])
def test_nobody_is_well_whom_nobody_asked(last: float, asked: str) -> None:
    seen = [reply(number / 10) for number in range(90, 300)]
    said = (f"whether all is well was asked until {asked} s after it",) if asked else ()
    assert TWICE.inspect([*seen, *EXCESS], [reply(12.0), reply(last)]).problems == said


@pytest.mark.parametrize(
    ("calm", "well_after_s"),
    [
        ([reply(21.0), reply(25.0)], 0.0),
        ([reply(19.0, status=503), reply(21.0)], 0.0),
        ([reply(21.0, status=503), reply(23.5, took=1.5), reply(25.0)], 3.5),
    ],
)
def test_well_is_from_the_last_bad_or_slow_reply_on(calm: list[object], well_after_s: float) -> None:
    assert TWICE.well_after_s(calm) == well_after_s  # type: ignore[arg-type]
    assert TWICE.act(calm).recovery_s == well_after_s  # type: ignore[arg-type]


def test_prompt_refusal_is_no_loss_where_it_is_allowed() -> None:
    seen = [
        reply(0.0),
        reply(1.0, status=429, took=0.04),
        reply(2.0, status=503, took=0.04),
        reply(4.0, status=500, took=0.01),
    ]
    for within_s, lost in ((0.05, 1), (None, 3)):
        row = judge(
            "overload-2",
            seen,
            rest=REST,
            acts=[TWICE.act(seen)],
            promise=Promise(refused_p99_s=within_s),
            rate=1.0,
            effort=Effort(1, 1, 0),
        )
        assert (row.refused, row.lost, row.problems) == (2, lost, (f"lost {lost}, 0 promised",))


def test_late_refusals_break_the_promise() -> None:
    seen = [reply(0.0), *(reply(1.0, status=503, took=0.2 if number < 2 else 0.04) for number in range(100))]
    promise, acts = Promise(refused_p99_s=0.05), [TWICE.act(seen)]
    row = judge("overload-5", seen, rest=REST, acts=acts, promise=promise, rate=1.0, effort=Effort(1, 1, 0))
    assert row.problems == ("99 % of refusals within 0.2 s, 0.05 s promised",)
