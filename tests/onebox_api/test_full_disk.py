"""A disk without room: the client is told so, nothing is half written, and what the collector could not do is done later."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slipway.onebox.api import garbage
from slipway.onebox.api.errors import Refused
from slipway.onebox.api.server import Parts
from slipway.onebox.api.store import Store
from tests.onebox_api.inside import CONFIG_MAPS, config_map, send
from tests.waiting import eventually


def fill(store: Store) -> None:
    """As on a full disk: SQLite finds no page more, and ends the transaction by itself."""
    pages = store._db.execute("pragma page_count").fetchone()[0]
    store._db.execute(f"pragma max_page_count={pages}")


def make_room(store: Store) -> None:
    store._db.execute("pragma max_page_count=1000000")


def thing(size: int) -> dict[str, Any]:
    return {"kind": "Thing", "metadata": {"name": "a", "uid": "a"}, "data": "x" * size}


def test_what_was_written_is_on_disk_and_a_full_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "api.db"
    store = Store(path)
    assert store._db.execute("pragma synchronous").fetchone() == (2,)  # FULL: each commit is synced
    store.put("things", ("", "a"), thing(10))
    version = store.version
    fill(store)
    with pytest.raises(Refused, match=f"database or disk is full: make room on the disk of {path}") as refused:
        store.put("things", ("", "b"), thing(100_000))
    assert (refused.value.code, refused.value.reason) == (507, "InsufficientStorage")
    assert (store.version, store.get("things", ("", "b"))) == (version, None)
    make_room(store)
    assert store.put("things", ("", "b"), thing(100_000))["metadata"]["resourceVersion"] == str(version + 1)
    store.close()
    again = Store(path)
    assert again.all("things").keys() == {("", "a"), ("", "b")}
    again.close()


def test_a_disk_that_fails_is_an_internal_error_with_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "api.db")
    failure = sqlite3.OperationalError("disk I/O error")
    failure.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC

    class Failing:
        in_transaction = False

        def execute(self, *_: object) -> None:
            raise failure

    with monkeypatch.context() as patched:
        patched.setattr(store, "_db", Failing())
        with pytest.raises(Refused, match="api.db: disk I/O error") as refused:
            store.put("things", ("", "a"), thing(10))
    assert refused.value.code == 500
    store.close()


async def test_a_client_is_told_that_the_disk_is_full(parts: Parts, http: aiohttp.ClientSession) -> None:
    fill(parts.objects.store)
    status, answer = await send(http, "POST", CONFIG_MAPS, config_map("a", data={"a": "x" * 100_000}))
    assert (status, answer["reason"]) == (507, "InsufficientStorage")
    assert "make room on the disk of" in answer["message"]


@pytest.mark.parametrize("code", [507, 422])
async def test_the_collector_does_later_what_was_refused(
    parts: Parts, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(garbage, "RETRY_S", 0.01)
    _, owner = await send(http, "POST", CONFIG_MAPS, config_map("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    owned = config_map("owned")
    owned["metadata"]["ownerReferences"] = [reference]
    assert (await send(http, "POST", CONFIG_MAPS, owned))[0] == 201
    update, refusals = parts.objects.update, [Refused(code, "not now")] * 3

    def refused_at_first(*given: Any, **named: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return update(*given, **named)

    monkeypatch.setattr(parts.objects, "update", refused_at_first)
    assert (await send(http, "DELETE", f"{CONFIG_MAPS}/owner?propagationPolicy=Orphan"))[0] == 200
    store = parts.objects.store
    await eventually(lambda: store.get("configmaps", ("default", "owner")) is None, what="the owner is gone")
    left = store.get("configmaps", ("default", "owned")) or {}
    assert "ownerReferences" not in left["metadata"]


async def test_the_pauses_of_what_is_refused_for_ever_grow_to_a_minute(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector, place = parts.garbage, ("things", ("", "a"))

    def refuse(_: object) -> None:
        raise Refused(507, "full")

    monkeypatch.setattr(collector, "_look_at", refuse)
    pauses = []
    for _ in range(8):
        collector._try(place)
        collector._try(place)  # somebody woke it meanwhile: no second timer
        pauses.append(collector._pauses[place])
        collector._waiting.discard(place)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    monkeypatch.setattr(collector, "_look_at", lambda _: None)
    collector._try(place)
    assert not collector._pauses
