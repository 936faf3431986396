"""When a call is tried again, and for how long."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.client.errors import ClientError, DeadlineExceeded, Failed, Refused, UnexpectedReply, Unreachable
from slipway.client.grpc import retry_after_s
from slipway.client.retry import parse_retry_after, pause_s, retried, seconds_text
from slipway.client.settings import MAX_RETRY_AFTER_S
from slipway.kube.reflector import BACKOFF_MAX_S

NOT_SENT = Unreachable("no connection", was_sent=False)
BUSY = Failed(503, reason="OVERLOADED", info="", retry_after_s=2.0)
FINAL = (
    Unreachable("broke", was_sent=True),
    DeadlineExceeded("late"),
    UnexpectedReply("what"),
    Refused(429, reason="", info=""),
    Failed(503, reason="NO_READY_PREDICTOR", info=""),
    Failed(503, reason="", info="", retry_after_s=MAX_RETRY_AFTER_S + 1),
)


@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
def test_what_may_have_been_done_or_cannot_help_is_final(error: ClientError) -> None:
    assert pause_s(error, 1, attempts=10, left_s=1000) is None


@given(st.integers(1, 9), st.floats(0.01, 1000))
def test_pause_is_bounded_and_fits_the_time_left(failures: int, left_s: float) -> None:
    pause = pause_s(NOT_SENT, failures, attempts=10, left_s=left_s)
    assert pause is None or 0 < pause < left_s
    assert pause is None or pause <= BACKOFF_MAX_S


def test_servers_own_wish_is_never_shortened() -> None:
    pause = pause_s(BUSY, 1, attempts=2, left_s=10)
    assert pause is not None
    assert pause >= 2.0
    assert pause_s(BUSY, 1, attempts=2, left_s=1.9) is None


def test_last_attempt_is_the_last() -> None:
    assert pause_s(NOT_SENT, 3, attempts=3, left_s=100) is None
    assert pause_s(NOT_SENT, 2, attempts=3, left_s=100) is not None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        ("soon", None),
        ("-1", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("1.5", None),
        ("²", None),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
        ("9" * 5000, None),
    ],
)
def test_retry_after_is_read(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text) == seconds


def test_retry_after_may_be_a_date() -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    found = parse_retry_after(then)
    assert found is not None
    assert 50 < found <= 60


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.001, "1 ms"), (0.0004, "0.4 ms"), (0.25, "250 ms"), (1.5, "1.5 s"), (30, "30 s"), (-1, "0 ms")],
)
def test_short_time_is_told_in_milliseconds(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


async def test_deadline_that_is_over_says_how_long_it_was() -> None:
    async def never(_: float) -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlineExceeded, match=r"^no answer within 1 ms$"):
        await retried(never, attempts=1, timeout_s=0.001)


@given(st.text(max_size=40))
def test_any_retry_after_is_seconds_or_nothing(text: str) -> None:
    found = parse_retry_after(text)
    assert found is None or found >= 0


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({"grpc-retry-pushback-ms": "1500"}, 1.5),
        ({"grpc-retry-pushback-ms": "-1", "retry-after": "3"}, None),
        ({"retry-after": "3"}, 3.0),
        ({"grpc-retry-pushback-ms": "³", "retry-after": "3"}, 3.0),
        ({"grpc-retry-pushback-ms": "9" * 5000}, None),
        ({}, None),
    ],
)
def test_pushback_of_grpc_is_read(said: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(said) == seconds
