"""Rows from replies."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from slipway.drill.reply import Effort
from slipway.drill.verdict import Act, Findings, Promise, Row, judge, longest_gap_s, quantile, rest_of
from tests.drill.replies import MODEL, detection, reply

REST = {(MODEL, 0): (detection(),)}
ACTS = (Act("a", 1.0, 1.5), Act("b", 3.0, 5.0))


def row(replies: list[Any], **changes: Any) -> Row:
    given = {"rest": REST, "acts": ACTS, "promise": Promise(), "rate": 10.0, "effort": Effort(0.5, 10.0, 0.0)}
    return judge("pod", replies, **{**given, **changes})


def test_row_of_good_replies_breaks_nothing() -> None:
    found = row([reply(0.1 * number) for number in range(100)])
    assert (found.sent, found.answered, found.lost, found.wrong, found.problems) == (100, 100, 0, 0, ())
    assert found.recovery_s == 2.0
    assert found.p50_ms == pytest.approx(100)
    assert found.generator_cpu == 0.05


def test_lost_and_wrong_replies_are_counted_and_break_the_promise() -> None:
    other = reply(0.3, detections=(detection("cat"),))
    found = row([reply(0.0), reply(0.1, status=503, error="7 left"), reply(0.2, status=503, error="8 left"), other])
    assert (found.sent, found.answered, found.lost, found.wrong) == (4, 2, 2, 1)
    assert found.problems == ("lost 2, 0 promised", "wrong 1, 0 promised")
    assert found.losses == (("HTTP 503: # left", 2),)


def test_answer_without_boxes_is_lost_though_its_status_is_200() -> None:
    assert row([reply(0.0, error="not an answer")]).lost == 1


def test_answer_of_a_model_that_was_never_at_rest_is_wrong() -> None:
    assert row([reply(0.0, model="shapes/2 sha256:bb")]).wrong == 1


@pytest.mark.parametrize(
    ("promise", "problem"),
    [
        (Promise(gap_s=1.0), "longest gap 3.1 s, 1 s promised"),
        (Promise(recovery_s=1.5), "recovery 2 s, 1.5 s promised"),
        (Promise(refused_tries=0), "refused tries 1, 0 promised"),
    ],
)
def test_broken_promise_is_said(promise: Promise, problem: str) -> None:
    assert row([reply(0.0), reply(3.0, took=0.2, refused=1)], promise=promise).problems == (problem,)


@pytest.mark.parametrize(("took", "problems"), [(0.04, ()), (0.2, ("99 % of refusals within 0.2 s, 0.05 s promised",))])
def test_refusals_count_from_when_they_were_sent_and_are_no_losses_where_they_are_promised(
    took: float, problems: tuple[str, ...]
) -> None:
    """The generator was 2 s late: that is not the other side's."""
    refused = [replace(reply(0.0, status=status), sent=2.0, done=2.0 + took) for status in (429, 503)]
    found = row([reply(0.0), *refused], promise=Promise(refused_p99_s=0.05))
    assert (found.sent, found.refused, found.lost) == (3, 2, 0)
    assert found.refused_p99_ms == pytest.approx(took * 1000)
    assert found.problems == problems
    assert found.is_kept is (not problems)
    assert row([*refused, reply(0.0, status=500)], promise=Promise(refused_p99_s=0.05)).lost == 1


def test_requests_that_were_sent_again_are_counted_once_each() -> None:
    found = row([reply(0.0), reply(0.1, tries=2), reply(0.2, tries=5, refused=3)])
    assert (found.tried_again, found.refused_tries) == (2, 3)


def test_findings_of_several_looks_stand_together() -> None:
    both = Findings(("a",), ("b",)) + Findings(("c",), ("d",))
    found = row([reply(0.0)], findings=both)
    assert (found.notes, found.problems, found.is_kept) == (("a", "c"), ("b", "d"), False)


def test_what_never_was_well_again_breaks_every_recovery() -> None:
    found = row([reply(0.0)], acts=(Act("a", 1.0, None),), promise=Promise(recovery_s=1e9))
    assert found.recovery_s == math.inf
    assert found.problems


def test_drill_that_did_nothing_keeps_no_promise() -> None:
    assert row([], acts=()).problems == ("nothing was sent", "nothing was done to the platform")


def test_gap_counts_from_the_first_request_to_the_last_reply() -> None:
    lost = reply(4.0, took=10.0, status=0)
    assert longest_gap_s([reply(0.0), reply(1.0), lost]) == pytest.approx(12.9)
    assert longest_gap_s([reply(0.0, took=10.0, status=0), reply(7.0)]) == pytest.approx(7.1)
    assert longest_gap_s([]) == 0.0


def test_quantile_is_a_value_that_was_seen() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1.0)) == (50.0, 99.0, 100.0)
    assert quantile([], 0.5) == 0.0


def test_what_was_lost_before_anything_was_done_is_told_apart() -> None:
    """It is no effect of the strike: the platform was not well, or a route not known yet."""
    seen = [reply(0.0, status=404), reply(1.0), reply(1.9, status=503, took=0.2), reply(3.0)]
    found = row(seen, begun=2.0)
    assert (found.lost, found.lost_before) == (2, 1)
    assert found.problems == ("lost 2, 0 promised", "before anything was done: lost 1, 0 promised")
    assert row(seen[1:], begun=2.0).lost_before == 0


def test_answers_at_rest_without_a_box_say_nothing_about_others() -> None:
    assert rest_of([reply(0.0, detections=()), reply(1.0, photo=1)])
    with pytest.raises(ValueError, match="1 photos have not one box at rest"):
        rest_of([reply(0.0, detections=())])


def test_rest_needs_an_answer_of_every_photo() -> None:
    assert rest_of([reply(0.0), reply(1.0, photo=1)]).keys() == {(MODEL, 0), (MODEL, 1)}
    with pytest.raises(ValueError, match="photo 0 has no answer at rest: 503 no"):
        rest_of([reply(0.0, status=503)])
