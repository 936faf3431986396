"""The queue of payload events: bounded in number, bytes and time, whatever is put in and taken out."""

from __future__ import annotations

import random

import pytest

from slipway.executor.graph import EventKind
from slipway.executor.limits import LOG_ENTRY_BYTES
from slipway.executor.payload import Payload
from slipway.executor.payload_log_event import Event
from slipway.executor.payload_log_queue import Bounds, EventQueue


def event(name: str = "e", size: int = 0) -> Event:
    return Event("http://sink", EventKind.REQUEST, name, "", Payload(bytes(size)), seen_at=0.0)


def queue(entries: int = 2, wait_s: float = 2.0, max_bytes: int = 10**6) -> EventQueue:
    return EventQueue(Bounds(entries, wait_s, max_bytes))


def names(found: EventQueue) -> list[str]:
    taken = []
    while (one := found.take()) is not None:
        taken.append(one.node)
    return taken


def test_queue_is_first_in_first_out_also_of_those_that_waited() -> None:
    found = queue(entries=2)
    assert [found.put(event(name), now=0.0) for name in "abcde"] == [None] * 5
    assert names(found) == list("abcde")


def test_full_queue_drops_at_once_where_nothing_may_wait() -> None:
    found = queue(entries=2, wait_s=0)
    assert [found.put(event(), now=0.0) for _ in range(3)] == [None, None, "queue_full"]


def test_event_waits_for_a_place_for_its_time_only() -> None:
    found = queue(entries=1, wait_s=2.0)
    for at, name in enumerate("abc"):
        found.put(event(name), now=float(at))
    assert found.next_expiry() == 3.0
    assert [found.expire(now=2.9), found.expire(now=3.0), found.expire(now=3.0)] == [0, 1, 0]
    assert names(found) == ["a", "c"]
    assert found.next_expiry() is None


def test_event_that_got_a_place_waits_no_longer_for_one() -> None:
    found = queue(entries=1, wait_s=1.0)
    found.put(event("a"), now=0.0)
    found.put(event("b"), now=0.0)
    found.take()
    assert found.expire(now=100.0) == 0
    assert names(found) == ["b"]


def test_bytes_are_bounded_until_an_event_is_done() -> None:
    found = queue(entries=100, max_bytes=2 * LOG_ENTRY_BYTES + 100)
    assert found.put(event(size=60), now=0.0) is None
    assert found.put(event(size=60), now=0.0) == "bytes"
    assert found.put(event(size=40), now=0.0) is None
    taken = found.take()
    assert taken is not None
    assert found.put(event(), now=0.0) == "bytes"
    found.done(taken)
    assert found.put(event(), now=0.0) is None


def test_empty_payloads_count_too() -> None:
    found = queue(entries=10**9, wait_s=10**9, max_bytes=10 * LOG_ENTRY_BYTES)
    assert [found.put(event(), now=0.0) for _ in range(12)].count("bytes") == 2


@pytest.mark.parametrize("seed", range(20))
def test_bounds_hold_for_any_order_of_what_happens(seed: int) -> None:
    draw = random.Random(seed)
    bounds = Bounds(draw.randint(1, 5), draw.choice([0.0, 1.5]), draw.randint(5, 40) * LOG_ENTRY_BYTES)
    found, sending, now, put, gone = EventQueue(bounds), [], 0.0, 0, 0
    for _ in range(500):
        now += draw.random()
        match draw.randint(0, 3):
            case 0 | 1:
                put += found.put(event(size=draw.randint(0, 4096)), now=now) is None
            case 2:
                gone += found.expire(now=now)
                if (one := found.take()) is not None:
                    sending.append(one)
            case 3 if sending:
                found.done(sending.pop())
                gone += 1
        assert 0 <= found.bytes <= bounds.max_bytes
        assert found.bytes >= (len(found) + len(sending)) * LOG_ENTRY_BYTES
        assert put == gone + len(found) + len(sending)
    gone += found.clear() + len(sending)
    for one in sending:
        found.done(one)
    assert (found.bytes, len(found), put) == (0, 0, gone)
