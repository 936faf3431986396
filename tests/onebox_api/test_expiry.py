"""Events go after an hour, and the oldest of whoever has the most where there are too many."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.onebox.api import expiry
from slipway.onebox.api.expiry import EventExpiry, too_many, written_at
from slipway.onebox.api.server import Parts
from slipway.onebox.api.store import Store
from tests.onebox_api.inside import send
from tests.waiting import eventually

START = 1_800_000_000.0  # 2027-01-15T08:00:00Z


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "api.db")
    yield opened
    opened.close()


def event(name: str, **meta: Any) -> dict[str, Any]:
    return {"kind": "Event", "metadata": {"name": name, "uid": name, **meta}}


def names(store: Store) -> set[str]:
    return {name for _, name in store.all("events")}


def test_an_event_goes_an_hour_after_its_last_write(store: Store) -> None:
    now = START
    following = EventExpiry(store, clock=lambda: now)
    for name in ("once", "again"):
        store.put("events", ("a", name), event(name, creationTimestamp="2001-01-01T00:00:00Z"))
    now = START + 1800
    store.put("events", ("a", "again"), event("again"))
    now = START + 3599
    following.sweep()
    assert names(store) == {"once", "again"}
    now = START + 3600
    following.sweep()
    assert names(store) == {"again"}
    now = START + 5400
    following.sweep()
    assert names(store) == set()


def test_a_restart_gives_no_event_a_second_hour(store: Store) -> None:
    written = [{"time": "2027-01-15T07:50:00Z"}, {"time": "nonsense"}, {"time": "2999-01-01T00:00:00"}]
    store.put("events", ("a", "old"), event("old", creationTimestamp="2027-01-15T06:00:00Z"))
    store.put("events", ("a", "again"), event("again", creationTimestamp="2027-01-15T06:00:00Z", managedFields=written))
    store.put("configmaps", ("a", "kept"), event("kept", creationTimestamp="2001-01-01T00:00:00Z"))
    EventExpiry(store, clock=lambda: START).sweep()
    assert names(store) == {"again"}
    assert store.get("configmaps", ("a", "kept"))


def test_a_stamp_in_the_future_counts_as_now() -> None:
    assert written_at(event("x", creationTimestamp="2999-01-01T00:00:00Z"), now=START) == START


@given(sizes=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 40), min_size=1))
def test_too_many_take_the_oldest_of_whoever_has_the_most(sizes: dict[str, int]) -> None:
    written = {space: {str(n): float(n) for n in range(size)} for space, size in sizes.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expiry, "MAX_EVENTS", 50)
        patch.setattr(expiry, "KEPT_EVENTS", 40)
        gone = [*too_many(written)]
    left = {space: [n for n in names if (space, n) not in gone] for space, names in written.items()}
    total = sum(map(len, left.values()))
    if sum(sizes.values()) <= 50:
        assert not gone
        return
    assert 40 - len(sizes) < total <= 40
    most = max(map(len, left.values()))
    for space, kept in left.items():
        assert kept == list(written[space])[sizes[space] - len(kept) :]  # the newest
        assert len(kept) in (sizes[space], most)  # a small namespace loses nothing to a large one


async def test_a_flood_of_events_is_bounded_without_waiting_for_the_next_round(
    parts: Parts, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "MAX_EVENTS", 20)
    monkeypatch.setattr(expiry, "KEPT_EVENTS", 10)
    path = "/api/v1/namespaces/default/events"
    for number in range(21):
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"e{number:02}"},
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        }
        assert (await send(http, "POST", path, body))[0] == 201
    store = parts.objects.store
    await eventually(lambda: len(store.all("events")) == 10, what="ten are left")
    assert names(store) == {f"e{number}" for number in range(11, 21)}


async def test_a_sweep_that_fails_is_logged_and_done_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(expiry, "RETRY_S", 0.0)
    store.put("events", ("a", "old"), event("old", creationTimestamp="2001-01-01T00:00:00Z"))
    remove, failures = store.remove, [sqlite3.OperationalError("database or disk is full")]

    def full_once(resource: str, key: tuple[str, str]) -> dict[str, Any]:
        if failures:
            raise failures.pop()
        return remove(resource, key)

    monkeypatch.setattr(store, "remove", full_once)
    running = asyncio.create_task(EventExpiry(store).run())
    try:
        await eventually(lambda: not names(store), what="the Event is gone")
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert "database or disk is full" in caplog.text
