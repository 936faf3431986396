"""From one revision to the next and back, as pure steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from slipway.contract.following import Following, NodeModel, Revision, RollbackRequest
from slipway.controller.following import (
    MAX_HISTORY,
    Move,
    advance,
    next_look_s,
    read_followings,
    remembered,
    roll_back,
    running,
    settle,
)
from slipway.registry import Pointer
from tests.controller.cases import revision

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NODE = "yolo-detector"
HOUR_S = 3600


def version(number: str) -> Revision:
    return revision("stable", number)


def step(old: Following | None, number: str, pointer: Pointer | None = None) -> tuple[Following, Move | None]:
    pointers = {NODE: pointer or Pointer(number)}
    return advance(old, version(number), pointers, predictor="stable")


def served(number: str, old: Following | None = None, *, now: datetime = NOW) -> Following:
    """The state in which version ``number`` has got the requests."""
    state, _ = step(old, number)
    return settle(state, version(number).name, keep_s=HOUR_S, now=now)


def request(to: str, at: str = "t1") -> RollbackRequest:
    return RollbackRequest("stable", version(to).name, "ann", at, "too slow")


def test_first_look_moves_nothing():
    state, move = step(None, "1")
    assert (state.wanted, state.previous, move) == (version("1"), None, None)


def test_moved_alias_is_wanted_and_what_serves_stays():
    state, move = step(served("1"), "2", Pointer("2", "ann", "better", "t1"))
    assert (state.wanted, state.previous) == (version("2"), version("1"))
    assert running(state, now=NOW + timedelta(days=9)) == [version("2"), version("1")], "without end while it serves"
    assert move is not None
    assert str(move).endswith("; by ann: better")


def test_version_that_never_served_is_no_previous_one():
    broken, _ = step(served("1"), "2")
    state, _ = step(broken, "3")
    assert (state.wanted, state.previous) == (version("3"), version("1"))
    back, _ = step(broken, "1")
    assert (back.wanted, back.previous) == (version("1"), None)


def test_previous_version_is_kept_for_its_time_from_the_switch():
    state = served("2", served("1"), now=NOW)
    assert state.until == "2026-01-01T01:00:00Z"
    assert running(state, now=NOW + timedelta(minutes=59)) == [version("2"), version("1")]
    assert running(state, now=NOW + timedelta(hours=1)) == [version("2")]
    assert next_look_s([state], now=NOW) == HOUR_S + 0.1
    assert next_look_s([state], now=NOW + timedelta(hours=2)) is None
    shorter = settle(state, state.serving, keep_s=60, now=NOW + timedelta(minutes=5))
    assert running(shorter, now=NOW + timedelta(minutes=5)) == [version("2")], "the annotation was edited"


def test_rollback_wants_the_previous_version_and_rejects_the_present_one():
    state, move = roll_back(served("2", served("1")), request("1"))
    assert (state.wanted, state.previous) == (version("1"), version("2"))
    assert (state.rejected, state.rolled_back, state.handled) == ({NODE: "2"}, version("2").name, "t1")
    assert move is not None
    assert (move.how, move.who, move.why) == ("rollback", "ann", "too slow")


def test_rollback_from_what_never_served_keeps_nothing_of_it():
    broken, _ = step(served("2", served("1")), "3")
    state, _ = roll_back(broken, request("2"))
    assert (state.wanted, state.previous, state.rejected) == (version("2"), None, {NODE: "3"})


def test_rejection_ends_when_the_alias_moves_and_not_before():
    back, _ = roll_back(served("2", served("1")), request("1"))
    for pointer in (None, Pointer("2")):
        state, move = advance(back, version("1"), {NODE: pointer} if pointer else {}, predictor="stable")
        assert (state.rejected, move) == ({NODE: "2"}, None)
    state, _ = step(back, "1")
    assert not state.rejected
    again, move = step(settle(state, version("1").name, keep_s=HOUR_S, now=NOW), "2")
    assert (again.wanted, again.rolled_back) == (version("2"), "")
    assert move is not None


def test_rejected_version_that_is_promoted_again_is_wanted_although_the_alias_never_left_it():
    promoted, _ = step(served("1"), "2", Pointer("2", "ann", "better", "t1"))
    back, _ = roll_back(settle(promoted, version("2").name, keep_s=HOUR_S, now=NOW), request("1"))
    stays, _ = advance(back, version("1"), {NODE: Pointer("2", "ann", "better", "t1")}, predictor="stable")
    assert stays.rejects(NODE, "2", moved_at="t1")
    again = Pointer("2", "bob", "it was the photos", "t2")
    assert not stays.rejects(NODE, "2", moved_at=again.at)
    state, move = step(stays, "2", again)
    assert (state.wanted, state.rejected, state.rolled_back) == (version("2"), {}, "")
    assert move is not None
    assert (move.who, move.why) == ("bob", "it was the photos")


def test_what_serves_stays_when_the_time_of_the_previous_version_is_over():
    late = NOW + timedelta(hours=2)
    state = settle(served("2", served("1"), now=NOW), version("2").name, keep_s=HOUR_S, now=late)
    assert running(state, now=late) == [version("2")]
    back, _ = roll_back(state, request("1"))
    assert running(back, now=late) == [version("1"), version("2")]
    onward, _ = step(state, "3")
    assert running(onward, now=late) == [version("3"), version("2")]


def test_rollback_to_what_is_unknown_changes_nothing_but_is_handled():
    before = served("2", served("1"))
    for to in ("9", "2"):
        state, move = roll_back(before, request(to, at="t9"))
        assert (state.wanted, state.handled, move) == (before.wanted, "t9", None)


def test_record_of_an_earlier_move_is_not_taken_for_this_one():
    first, _ = step(served("1"), "2", Pointer("2", "ann", "better", "t1"))
    second, _ = step(first, "3", Pointer("3"))
    _, move = step(second, "2", Pointer("2", "ann", "better", "t1"))
    assert move is not None
    assert (move.who, move.why) == ("unknown", "")
    assert "does not record by whom" in str(move)


def test_another_graph_begins_anew():
    other = Revision.of("stable", (NodeModel("else", "models:/shapes@champion", "shapes", "1", "", "s3://m"),))
    state, move = advance(served("2", served("1")), other, {}, predictor="stable")
    assert (state.wanted, state.previous, move) == (other, None, None)


def test_history_is_bounded_and_says_when_a_move_served():
    history: list[dict[str, Any]] = []
    state = served("1")
    for number in range(2, MAX_HISTORY + 9):
        state, move = step(state, str(number))
        assert move is not None
        history = remembered(history, [move], {"stable": state}, now=NOW)
        assert "servedAt" not in history[-1]
        state = settle(state, state.wanted.name, keep_s=HOUR_S, now=NOW)
        history = remembered(history, [], {"stable": state}, now=NOW + timedelta(seconds=5))
    assert len(history) == MAX_HISTORY
    assert (history[-1]["at"], history[-1]["servedAt"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z")
    assert history[-1]["to"] == state.serving


def test_unreadable_status_is_as_good_as_none():
    good = served("1")
    bad = [{**good.to_json(), "predictor": "x", "until": text} for text in ("soon", "2026-01-01T00:00:00", "9" * 40)]
    found = read_followings({"following": [7, {"predictor": "x"}, *bad, good.to_json()]})
    assert found == {"stable": good}


class Life(RuleBasedStateMachine):
    """Any order of moves, readiness, rollbacks and time; the state goes through its JSON each time."""

    def __init__(self) -> None:
        super().__init__()
        self.alias = "1"
        self.now = NOW
        self.ready: set[str] = set()
        self.state = served("1")
        self.asked = 0

    @rule(number=st.sampled_from("1234"))
    def move(self, number: str) -> None:
        self.alias = number

    @rule(number=st.sampled_from("1234"))
    def become_ready(self, number: str) -> None:
        self.ready.add(version(number).name)

    @rule(hours=st.sampled_from([0.2, 2.0]))
    def wait(self, hours: float) -> None:
        self.now += timedelta(hours=hours)

    @rule()
    def look(self) -> None:
        state = Following.read(self.state.to_json())
        pointed = state.wanted.versions[NODE] if state.rejected.get(NODE) == self.alias else self.alias
        state, _ = advance(state, version(pointed), {NODE: Pointer(self.alias)}, predictor="stable")
        serving = state.wanted.name if state.wanted.name in self.ready else state.serving
        self.state = settle(state, serving, keep_s=HOUR_S, now=self.now)

    @rule()
    def go_back(self) -> None:
        if self.state.previous is None:
            return
        self.asked += 1
        target = self.state.previous
        state, _ = roll_back(self.state, RollbackRequest("stable", target.name, "ann", str(self.asked)))
        self.state = settle(state, target.name, keep_s=HOUR_S, now=self.now)

    @invariant()
    def what_serves_runs(self) -> None:
        names = [item.name for item in running(self.state, now=self.now)]
        assert self.state.serving in names
        assert len(names) <= 2
        assert len(set(names)) == len(names)

    @invariant()
    def json_keeps_all(self) -> None:
        assert Following.read(self.state.to_json()) == self.state


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(st.lists(st.sampled_from("123"), min_size=1, max_size=8))
def test_alias_that_comes_to_rest_is_served(numbers: list[str]) -> None:
    state = served("1")
    for number in numbers:
        state, _ = step(state, number)
    state = settle(state, state.wanted.name, keep_s=HOUR_S, now=NOW)
    assert state.is_settled
    assert state.wanted == version(numbers[-1])
