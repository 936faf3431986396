"""What the history of writes gives back: earlier collections, what a watch has missed, and memory after some minutes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.onebox.api import history, watching
from slipway.onebox.api.errors import Refused
from slipway.onebox.api.history import History, Write
from slipway.onebox.api.selectors import parse_labels, predicate
from slipway.onebox.api.server import Parts
from slipway.onebox.api.store import Store
from slipway.onebox.api.target import Target
from tests.onebox_api.inside import config_map
from tests.waiting import eventually


def thing(name: str, **more: Any) -> dict[str, Any]:
    return {"kind": "Thing", "metadata": {"name": name, "uid": name}, **more}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(Store(tmp_path / "api.db")) as opened:
        yield opened


def some_writes(store: Store, *, rounds: int = 60) -> None:
    """Creations, changes, deletions and creations anew of a few objects of two kinds."""
    chosen = random.Random(5)
    for number in range(rounds):
        resource, key = chosen.choice(["things", "others"]), ("", chosen.choice("abc"))
        if store.get(resource, key) is not None and chosen.random() < 0.3:
            store.remove(resource, key)
        else:
            store.put(resource, key, thing(key[1], number=number, text=["é", "\ud800", None, 1.5][number % 4]))


def test_every_earlier_collection_comes_back(kept: Store) -> None:
    states = {kept.version: dict(kept.all("things"))}
    kept.listen(lambda write: states.update({write.version: dict(kept.all("things"))}))
    some_writes(kept)
    assert {version: kept.at(version, "things") for version in states} == states


def test_what_was_written_is_read_back_as_the_listeners_saw_it(kept: Store) -> None:
    seen: list[Write] = []
    kept.listen(seen.append)
    some_writes(kept)
    assert [one.write() for one in kept.since(kept.oldest, "things")] == [w for w in seen if w.resource == "things"]


def test_writes_go_after_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    kept = History(1, clock=lambda: now)

    def write(version: int, name: str) -> None:
        new = thing(name, version=version)
        kept.add(Write(version, "things", ("", name), None, new, new), body="{}", size=2)

    write(2, "a")
    now += 200
    write(3, "b")
    assert (kept.drop_old(), kept.oldest) == (False, 1)
    now += history.HISTORY_S - 199
    assert (kept.drop_old(), kept.oldest) == (True, 2)
    assert [one.version for one in kept.since(2, "things")] == [3]
    now += history.HISTORY_S
    assert (kept.drop_old(), kept.oldest, list(kept.since(3, "things"))) == (True, 3, [])


def test_a_change_of_what_the_history_no_longer_has_knows_what_it_changed(
    kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.put("things", ("", "a"), thing("a", number=1))
    monkeypatch.setattr(history, "HISTORY_S", -1.0)
    assert kept.history.drop_old()
    before = kept.version
    kept.put("things", ("", "a"), thing("a", number=2))
    kept.remove("things", ("", "a"))
    assert [old["number"] for one in kept.since(before, "things") if (old := one.write().old)] == [1, 2]
    assert kept.at(before, "things")["", "a"]["number"] == 1


# -- watches


def config_maps(parts: Parts) -> Target:
    found = parts.objects.catalog.find("", "v1", "configmaps")
    assert found is not None
    return Target(*found, namespace="default")


@pytest.mark.parametrize("selector", ["", "stage=live", "stage notin (live)"])
async def test_a_watch_from_an_older_version_sees_what_one_that_was_there_saw(parts: Parts, selector: str) -> None:
    matches = predicate(parse_labels(selector), ())
    kept, hub, target = parts.objects.store, parts.hub, config_maps(parts)
    begin = kept.version
    there = hub.open(target, matches, version=begin, user="a", is_admin=False)
    chosen = random.Random(7)
    for number in range(60):
        key = (chosen.choice(["default", "other"]), chosen.choice("abc"))
        if kept.get("configmaps", key) is not None and chosen.random() < 0.3:
            kept.remove("configmaps", key)
            continue
        made = config_map(key[1], data={"number": str(number)})
        made["metadata"]["labels"] = {"stage": chosen.choice(["live", "draft"])}
        kept.put("configmaps", key, made)
    late = hub.open(target, matches, version=begin, user="a", is_admin=False)
    for watcher in (there, late):
        watcher.end()
    seen = [event async for event in watching.events(there, deadline=float("inf"), bookmarks=False)]
    assert len(seen) > 10
    assert [event async for event in watching.events(late, deadline=float("inf"), bookmarks=False)] == seen


async def test_once_the_history_is_too_old_watches_begin_anew(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, hub, target = parts.objects.store, parts.hub, config_maps(parts)
    begin = kept.version
    slow = hub.open(target, None, version=begin, user="a", is_admin=False)
    kept.put("configmaps", ("default", "a"), config_map("a"))
    monkeypatch.setattr(history, "HISTORY_S", -1.0)
    monkeypatch.setattr(watching, "ROUND_S", 0.01)
    running = asyncio.create_task(hub.run())
    await eventually(lambda: kept.oldest == kept.version, what="the history is empty")
    running.cancel()
    assert (slow.is_over, await slow.next()) == (True, None)
    with pytest.raises(Refused) as refused:
        hub.open(target, None, version=begin, user="a", is_admin=False)
    assert refused.value.code == 410
    assert not hub.open(target, None, version=kept.version, user="a", is_admin=False).is_over


# -- memory


def test_objects_share_their_strings(kept: Store, tmp_path: Path) -> None:
    for name in ("a", "b"):
        kept.put("things", ("", name), thing(name, **{f"field-{4}": f"value {5}"}))
    kept.close()
    with contextlib.closing(Store(tmp_path / "api.db")) as again:
        for store in (kept, again):
            first, second = store.all("things").values()
            assert next(key for key in first if key.startswith("field")) is list(second)[-1]
            assert first["field-4"] is second["field-4"]
