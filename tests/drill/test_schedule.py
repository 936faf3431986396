"""The rate of a load is counted from its schedule."""

from __future__ import annotations

from dataclasses import replace

from tests.drill.replies import reply
from tests.e2e.load import Load


def test_rate_is_what_was_due_in_each_second_however_late_it_was_sent() -> None:
    due = [replace(reply(7.25 + number / 200), sent=20.0) for number in range(700)]
    assert Load("unused", replies=due).due_each_second() == [200, 200, 200]


def test_second_in_which_too_little_was_due_is_seen() -> None:
    due = [reply(number / 200) for number in range(700) if not 250 <= number < 260]
    assert Load("unused", replies=due).due_each_second() == [200, 190, 200]
