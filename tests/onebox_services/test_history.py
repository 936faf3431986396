from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.supervisor.history import (
    CRASH_LOOP_FAILURES,
    MAX_BACKOFF_S,
    PERMANENT_EXIT,
    STABLE_AFTER_S,
    BecameReady,
    Event,
    Exited,
    FellSilent,
    Forgiven,
    Phase,
    Record,
    Started,
    StartFailed,
    StopBegan,
    backoff_s,
    describe_exit,
    fold,
)


def replay(*events: Event, is_task: bool = False) -> Record:
    record = Record("mlflow", is_task=is_task)
    for event in events:
        record = fold(record, event)
    return record


def started(at_s: float = 0.0) -> Started:
    return Started("mlflow", 7, "abc", at_s)


def test_exit_of_a_server_is_a_failure_that_is_tried_again_after_half_a_second() -> None:
    record = replay(started(), BecameReady("mlflow", 1.0), Exited("mlflow", 1, 2.0))
    assert (record.phase, record.pid, record.failures, record.retry_at_s) == (Phase.BACKOFF, None, 1, 2.5)
    assert record.problem == "exited with code 1"


def test_exit_of_a_server_with_code_0_is_a_failure_too() -> None:
    assert replay(started(), Exited("mlflow", 0, 1.0)).phase is Phase.BACKOFF


def test_exit_of_a_task_with_code_0_is_done_and_says_how_long_it_took() -> None:
    record = replay(started(1.0), Exited("mlflow", 0, 3.5), is_task=True)
    assert (record.phase, record.ready_after_s) == (Phase.DONE, 2.5)


def test_exit_after_a_wished_stop_is_stopped() -> None:
    record = replay(started(), BecameReady("mlflow", 1.0), StopBegan("mlflow", 2.0), Exited("mlflow", -15, 3.0))
    assert (record.phase, record.failures, record.restarts) == (Phase.STOPPED, 0, 0)


def test_exit_after_a_failed_start_keeps_the_reason() -> None:
    record = replay(started(), StopBegan("mlflow", 60.0, "not ready within 60 s"), Exited("mlflow", -15, 61.0))
    assert (record.phase, record.problem) == (Phase.BACKOFF, "not ready within 60 s")


def test_silence_of_a_ready_server_is_a_failure_with_its_reason() -> None:
    hung = (started(), BecameReady("mlflow", 1.0), FellSilent("mlflow", 7, 100.0, "did not answer for 60 s"))
    assert replay(*hung).phase is Phase.STOPPING
    ended = replay(*hung, Exited("mlflow", -9, 100.1))
    assert (ended.phase, ended.problem) == (Phase.BACKOFF, "did not answer for 60 s")


def test_old_problem_is_forgotten_once_ready() -> None:
    record = replay(
        started(), Exited("mlflow", 3, 1.0), started(2.0), BecameReady("mlflow", 3.0), Exited("mlflow", -9, 4.0)
    )
    assert record.problem == "killed by signal 9"


def test_repeated_failures_become_a_crash_loop() -> None:
    events: list[Event] = []
    for turn in range(CRASH_LOOP_FAILURES):
        assert replay(*events).phase is not Phase.CRASH_LOOP
        events += [started(float(turn)), Exited("mlflow", 1, turn + 0.5)]
    assert replay(*events).phase is Phase.CRASH_LOOP


def test_long_readiness_wipes_out_earlier_failures() -> None:
    record = replay(
        started(),
        Exited("mlflow", 1, 0.1),
        started(1.0),
        BecameReady("mlflow", 2.0),
        Exited("mlflow", 1, 2.0 + STABLE_AFTER_S),
    )
    assert record.failures == 1


@pytest.mark.parametrize(("ready_s", "pause_s"), [(STABLE_AFTER_S, 0.0), (STABLE_AFTER_S - 1, backoff_s(1))])
def test_first_death_after_long_readiness_is_mended_at_once(ready_s: float, pause_s: float) -> None:
    record = replay(started(), BecameReady("mlflow", 2.0), Exited("mlflow", -9, 2.0 + ready_s))
    assert record.retry_at_s - (2.0 + ready_s) == pytest.approx(pause_s)


@pytest.mark.parametrize(
    "event", [Exited("mlflow", PERMANENT_EXIT, 1.0), StartFailed("mlflow", "port taken", 1.0, permanent=True)]
)
def test_permanent_failure_is_not_tried_again(event: Event) -> None:
    assert replay(started(), event).phase is Phase.CRASH_LOOP


def test_forgiven_crash_loop_starts_from_zero() -> None:
    record = replay(started(), Exited("mlflow", PERMANENT_EXIT, 1.0), Forgiven("mlflow", 2.0))
    assert (record.phase, record.failures) == (Phase.STOPPED, 0)


@pytest.mark.parametrize(("code", "text"), [(1, "exited with code 1"), (-9, "killed by signal 9"), (None, "ended")])
def test_exit_is_described(code: int | None, text: str) -> None:
    assert describe_exit(code) == text


@given(st.integers(min_value=1, max_value=200))
def test_backoff_grows_and_is_bounded(failures: int) -> None:
    assert 0 < backoff_s(failures) <= backoff_s(failures + 1) <= MAX_BACKOFF_S
