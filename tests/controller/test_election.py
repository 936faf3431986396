"""Who leads: never two at once, whatever is slow, lost or paused; and somebody, where nothing is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.controller.election import Candidate, Timing, claim, next_step, released

TIMING = Timing(lease_s=15, renew_s=10, retry_s=2)
WALL = datetime(2026, 11, 22, tzinfo=UTC)
HALT, GO_ON, LOSE = 0, 1, 2


@dataclass
class Server:
    """One Lease with optimistic locking."""

    spec: dict[str, Any] | None = None
    version: int = 0

    def write(self, spec: dict[str, Any], *, on: int) -> bool:
        if on != self.version:
            return False
        self.spec, self.version = spec, self.version + 1
        return True


@dataclass
class Process:
    """A candidate whose requests take as long as a test wants. Its clock started at ``offset``."""

    candidate: Candidate
    server: Server
    offset: float
    counts_from_answer: bool = False
    stage: str = "idle"
    flight: dict[str, Any] = field(default_factory=dict)

    def step(self, what: int, time_s: float) -> None:
        if what == HALT:
            return
        if what == LOSE:
            self.stage = "idle"  # a write that is lost may have reached the server, or not
            return
        getattr(self, f"_{self.stage}")(time_s + self.offset)

    def _idle(self, now: float) -> None:
        self.flight = {"spec": self.server.spec, "on": self.server.version}
        self.stage = "reading"

    def _reading(self, now: float) -> None:
        if self.flight["spec"] is not None:
            self.candidate = self.candidate.observed(self.flight["spec"], now=now)
        step = next_step(self.candidate, now=now)
        if step == "wait":
            self.stage = "idle"
            return
        self.flight |= {"new": {**claim(self.candidate, step, clock=WALL), "nonce": now}, "begun_at": now}
        self.stage = "writing"

    def _writing(self, now: float) -> None:
        self.flight["taken"] = self.server.write(self.flight["new"], on=self.flight["on"])
        self.stage = "answering"

    def _answering(self, now: float) -> None:
        if self.flight["taken"]:
            begun_at = now if self.counts_from_answer else self.flight["begun_at"]
            self.candidate = self.candidate.wrote(self.flight["new"], begun_at=begun_at, now=now)
        self.stage = "idle"

    def leads(self, time_s: float) -> bool:
        return self.candidate.may_write(time_s + self.offset)


def play(script: list[tuple[int, ...]], *, tick_s: float, counts_from_answer: bool = False) -> list[set[str]]:
    """Who led at each tick. A script says for each tick what each process's request does."""
    server, clock = Server(), 0.0
    processes = [
        Process(Candidate(f"p{index}", TIMING), server, offset=1000.0 * index, counts_from_answer=counts_from_answer)
        for index in range(len(script[0]))
    ]
    led = []
    for line in script:
        clock += tick_s
        for process, what in zip(processes, line, strict=True):
            process.step(what, clock)
            led.append({one.candidate.identity for one in processes if one.leads(clock)})
    return led


LINES = st.tuples(*[st.sampled_from([HALT, GO_ON, GO_ON, LOSE])] * 3)


@settings(max_examples=300, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=120), st.sampled_from([0.5, 1.0, 3.0, 9.0]))
def test_never_two_lead_whatever_is_slow_lost_or_paused(script: list[tuple[int, ...]], tick_s: float) -> None:
    assert max(len(leaders) for leaders in play(script, tick_s=tick_s)) <= 1


SLOW_ANSWER = [
    *[(GO_ON, HALT)] * 3,  # the first has written, and the answer is on its way
    *[(HALT, GO_ON)] * 2,  # the second has seen that
    *[(HALT, HALT)] * 13,
    (GO_ON, HALT),  # the answer is there at last
    *[(HALT, GO_ON)] * 4,  # the second has waited for long enough, and takes over
]


def test_leader_counts_from_its_request_and_one_that_counted_from_the_answer_would_not_be_alone() -> None:
    assert max(len(leaders) for leaders in play(SLOW_ANSWER, tick_s=1.0)) == 1
    wrong = play(SLOW_ANSWER, tick_s=1.0, counts_from_answer=True)
    assert max(len(leaders) for leaders in wrong) == 2, "the check of the property above can fail"


def test_somebody_leads_all_the_time_where_nothing_is_wrong() -> None:
    led = play([(GO_ON, GO_ON, GO_ON)] * 100, tick_s=0.5)
    assert {len(leaders) for leaders in led[30:]} == {1}
    assert len(set.union(*led)) == 1, "and it stays the same one"


def test_silent_leader_is_followed_by_another_after_the_lease_and_not_before() -> None:
    script = [(GO_ON, GO_ON)] * 8 + [(HALT, GO_ON)] * 60
    led = list(play(script, tick_s=0.5)[1::2])
    first = next(iter(led[7]))
    changed_s = next(index for index, leaders in enumerate(led) if leaders and leaders != {first}) * 0.5
    assert 8 * 0.5 + TIMING.renew_s < changed_s < 8 * 0.5 + TIMING.lease_s + 4


def seen(holder: str, *, at: float, duration: int = 15) -> Candidate:
    return Candidate("me", TIMING).observed({"holderIdentity": holder, "leaseDurationSeconds": duration}, now=at)


@pytest.mark.parametrize(
    ("candidate", "now", "step"),
    [
        (Candidate("me", TIMING), 0.0, "take"),
        (seen("", at=100), 100.0, "take"),
        (seen("you", at=100), 114.9, "wait"),
        (seen("you", at=100), 115.0, "take"),
        (seen("you", at=100, duration=60), 159.0, "wait"),  # somebody else's installation says longer
        (seen("you", at=100, duration=1), 102.0, "wait"),  # or shorter
        (seen("me", at=100), 500.0, "renew"),
    ],
)
def test_next_step(candidate: Candidate, now: float, step: str) -> None:
    assert next_step(candidate, now=now) == step


def test_claim_counts_changes_of_the_holder_and_keeps_since_when_it_is_held() -> None:
    first = claim(Candidate("me", TIMING), "take", clock=WALL)
    assert first == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-11-22T00:00:00.000000Z",
        "renewTime": "2026-11-22T00:00:00.000000Z",
        "leaseTransitions": 0,
    }
    later = WALL.replace(hour=1)
    mine = Candidate("me", TIMING).observed(first, now=0.0)
    assert claim(mine, "renew", clock=later) == {**first, "renewTime": "2026-11-22T01:00:00.000000Z"}
    other = claim(Candidate("you", TIMING).observed(first, now=0.0), "take", clock=later)
    assert (other["leaseTransitions"], other["acquireTime"]) == (1, "2026-11-22T01:00:00.000000Z")


def test_released_lease_is_taken_at_once() -> None:
    held = claim(Candidate("you", TIMING), "take", clock=WALL)
    assert next_step(Candidate("me", TIMING).observed(released(held, clock=WALL), now=5.0), now=5.0) == "take"


def test_lease_that_another_holds_ends_the_right_to_write_at_once() -> None:
    mine = Candidate("me", TIMING).wrote({"holderIdentity": "me"}, begun_at=1.0, now=2.0)
    assert (mine.may_write(10.9), mine.may_write(11.0), mine.left_s(4.0)) == (True, False, 7.0)
    assert not mine.observed({"holderIdentity": "you"}, now=3.0).may_write(3.0)


@pytest.mark.parametrize("wrong", [(10, 10, 2), (15, 2, 2), (15, 10, 0)])
def test_timing_that_would_not_be_safe_is_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="lease_s > renew_s > retry_s"):
        Timing(*wrong)
