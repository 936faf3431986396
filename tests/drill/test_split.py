"""Declared percentages against what replies say."""

from __future__ import annotations

from slipway.drill.reply import Reply
from slipway.drill.split import inspect_split
from slipway.drill.verdict import Act
from tests.drill.replies import reply


def replies(start: float, end: float, *, every: int) -> list[Reply]:
    """Ten a second; each ``every``-th is the canary's, none where it is 0."""
    numbers = range(round(start * 10), round(end * 10))
    return [reply(number / 10, predictor="next" if every and number % every == 0 else "main") for number in numbers]


ACTS = [Act("10", 0.0, 1.0), Act("0", 50.0, 51.0), Act("10", 60.0, 61.0)]


def test_pooled_shares_are_compared_with_what_was_declared() -> None:
    seen = [*replies(1, 50, every=10), *replies(51, 60, every=0), *replies(61, 100, every=10)]
    found = inspect_split(seen, ACTS)
    assert found.problems == ()
    assert [note.partition(",")[0] for note in found.notes] == [
        "0 % declared: 0 of 90 replies",
        "10 % declared: 88 of 880 replies",
    ]


def test_one_reply_at_zero_percent_is_a_problem() -> None:
    found = inspect_split([*replies(1, 50, every=10), reply(55.0, predictor="next"), *replies(61, 99, every=10)], ACTS)
    assert found.problems == ("0 % declared: 1 of 1 replies, 0 to 0 expected",)


def test_percentage_without_a_reply_shows_nothing() -> None:
    found = inspect_split(replies(1, 50, every=10), ACTS[:2])
    assert found.problems == ("no reply between two changes: 0 % was not seen",)


def test_share_of_few_replies_shows_nothing() -> None:
    (problem,) = inspect_split(replies(1, 5, every=10), ACTS[:1]).problems
    assert problem.startswith("10 % declared: 4 of 40 replies, 0 to ")
    assert problem.endswith("too few to tell it from none or all")


def test_share_that_is_not_declared_is_a_problem() -> None:
    (problem,) = inspect_split(replies(1, 50, every=3), ACTS[:1]).problems
    assert problem.startswith("10 % declared: 163 of 490 replies")


def test_what_is_sent_while_the_split_changes_does_not_count() -> None:
    assert inspect_split([reply(50.5, predictor="next")], ACTS).problems == (
        "no reply between two changes: 0 %, 10 % was not seen",
    )
    assert inspect_split(replies(1, 9, every=10), [Act("10", 0.0, None)]).problems == (
        "no reply between two changes: a split was not seen",
    )
