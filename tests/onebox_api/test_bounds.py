"""Memory and connections have bounds: the store, the history, watches, slow readers, floods."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from slipway.onebox.api import answers, history, store, watching
from slipway.onebox.api import server as serving
from slipway.onebox.api.errors import Refused
from slipway.onebox.api.server import Parts
from slipway.onebox.api.store import Store
from slipway.onebox.api.target import Target
from tests.onebox_api.inside import ADMIN_TOKEN, CONFIG_MAPS, config_map, send
from tests.waiting import eventually


def thing(name: str, size: int = 10) -> dict[str, Any]:
    return {"kind": "Thing", "metadata": {"name": name, "uid": name}, "data": "x" * size}


@pytest.fixture
def kept(tmp_path: Path) -> Any:
    opened = Store(tmp_path / "api.db")
    yield opened
    opened.close()


# -- the store


def test_an_object_that_patches_made_too_large_is_refused(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_OBJECT_BYTES", 1000)
    kept.put("things", ("", "a"), thing("a", 500))
    with pytest.raises(Refused) as refused:
        kept.put("things", ("", "a"), thing("a", 1000))
    assert refused.value.code == 413
    assert len((kept.get("things", ("", "a")) or {})["data"]) == 500


def test_a_full_store_takes_nothing_new_but_small_changes_and_deletions(
    kept: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(store, "MAX_STORED_BYTES", 3000)
    monkeypatch.setattr(store, "MAX_GROWTH_BYTES", 200)
    for name in ("a", "b"):
        kept.put("things", ("", name), thing(name, 1300))
    for refused in (("c", 500), ("a", 2000)):
        with pytest.raises(Refused) as error:
            kept.put("things", ("", refused[0]), thing(*refused))
        assert error.value.code == 507
    kept.put("things", ("", "a"), thing("a", 1450))  # a status
    kept.remove("things", ("", "b"))
    kept.put("things", ("", "c"), thing("c", 500))
    kept.close()
    again = Store(tmp_path / "api.db")
    assert again.stored_bytes == kept.stored_bytes
    again.close()


def test_the_history_is_bounded_by_its_bytes_too(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "HISTORY_BYTES", 5000)
    for number in range(20):
        kept.put("things", ("", "a"), thing("a", 1000 + number))
    assert len(list(kept.since(kept.oldest, "things"))) == 4
    assert kept.oldest == kept.version - 4


# -- watches


def all_things(parts: Parts) -> Target:
    found = parts.objects.catalog.find("", "v1", "configmaps")
    assert found is not None
    return Target(*found)


async def test_a_watcher_holds_nothing_that_the_history_has_dropped(
    parts: Parts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "HISTORY_BYTES", 5000)
    kept, hub = parts.objects.store, parts.hub
    slow = hub.open(all_things(parts), None, version=kept.version, user="a", is_admin=False)
    slow.since = kept.version + 1000  # its first events are sent
    for number in range(3):
        kept.put("configmaps", ("default", "a"), thing("a", 1000 + number))
    assert len(slow.pending) == 3
    for number in range(3):
        kept.put("configmaps", ("default", "a"), thing("a", 1100 + number))
    assert (len(slow.pending), slow.is_over, await slow.next()) == (0, True, None)


async def test_a_watcher_still_reading_the_first_list_is_ended_once_that_list_is_history(
    parts: Parts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "HISTORY_BYTES", 5000)
    kept, hub = parts.objects.store, parts.hub
    reading = hub.open(all_things(parts), None, version=kept.version, user="a", is_admin=False)
    for number in range(6):
        kept.put("secrets", ("default", "a"), thing("a", 1000 + number))  # of another kind: nothing is pending
    assert reading.is_over


async def test_one_user_cannot_take_all_watches(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_WATCHERS", 8)
    monkeypatch.setattr(watching, "KEPT_FOR_ADMIN", 3)
    monkeypatch.setattr(watching, "MAX_WATCHERS_OF_ONE", 3)
    hub, target = parts.hub, all_things(parts)

    def open_as(user: str, *, is_admin: bool = False) -> watching.Watcher:
        return hub.open(target, None, version=parts.objects.store.version, user=user, is_admin=is_admin)

    first = [open_as("ada") for _ in range(3)]
    with pytest.raises(Refused, match="3 of ada"):
        open_as("ada")
    for _ in range(2):
        open_as("bob")
    with pytest.raises(Refused, match="2 of bob"):
        open_as("bob")
    for _ in range(3):
        open_as("admin", is_admin=True)
    with pytest.raises(Refused) as refused:
        open_as("admin", is_admin=True)
    assert refused.value.code == 429
    hub.forget(first[0])
    open_as("admin", is_admin=True)


async def test_a_watcher_that_is_behind_goes_on_from_its_last_version(
    parts: Parts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "QUEUE_EVENTS", 5)
    kept, hub = parts.objects.store, parts.hub
    begin = kept.version
    for number in range(12):
        kept.put("configmaps", ("default", "a"), thing("a", number))
    seen: list[int] = []
    while len(seen) < 12:
        watcher = hub.open(all_things(parts), None, version=seen[-1] if seen else begin, user="a", is_admin=False)
        while not watcher.is_over or watcher.pending:
            event = await watcher.next()
            assert event is not None
            seen.append(event.version)
            if len(seen) == 12:
                break
        hub.forget(watcher)
    assert seen == list(range(begin + 1, begin + 13))


# -- clients that do not read


async def unread(server: TestServer, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that asks for ``path`` and takes nothing of the answer."""
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=1024)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize("path", [CONFIG_MAPS, f"{CONFIG_MAPS}?watch=1&resourceVersion=0"])
async def test_a_client_that_does_not_read_is_cut_off(
    server: TestServer,
    parts: Parts,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    monkeypatch.setattr(answers, "WRITE_TIMEOUT_S", 0.5)
    key = ("default", "large")
    parts.objects.store.put("configmaps", key, config_map("large", data={"a": "x" * 5_000_000}))
    parts.objects.store.put("configmaps", ("default", "b"), config_map("b", data={"a": "x" * 5_000_000}))
    reader, writer = await unread(server, path)
    handlers = server.handler
    assert handlers is not None
    await eventually(lambda: handlers.connections, timeout_s=10, what="the connection")
    await eventually(lambda: not handlers.connections, timeout_s=30, what="the connection is cut")
    assert parts.hub.count == 0
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(11_000_000)
    writer.close()


async def test_large_unread_answers_are_bounded_together(
    server: TestServer,
    parts: Parts,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "MAX_UNSENT_BYTES", 8_000_000)
    parts.objects.store.put("configmaps", ("default", "large"), config_map("large", data={"a": "x" * 5_000_000}))
    _, writer = await unread(server, CONFIG_MAPS)

    async def asked() -> tuple[int, str | None]:
        async with aiohttp.request(
            "GET", server.make_url(CONFIG_MAPS), headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}
        ) as response:
            await response.read()
            return response.status, response.headers.get("Retry-After")

    async with asyncio.timeout(20):
        while await asked() != (429, "1"):
            pass
    writer.transport.abort()
    async with asyncio.timeout(20):
        while (await asked())[0] != 200:
            pass


async def test_a_large_answer_comes_whole(http: aiohttp.ClientSession, parts: Parts) -> None:
    parts.objects.store.put("configmaps", ("default", "large"), config_map("large", data={"a": "é" * 1_000_000}))
    status, answer = await send(http, "GET", f"{CONFIG_MAPS}/large")
    assert (status, answer["data"]["a"]) == (200, "é" * 1_000_000)


async def test_large_bodies_that_never_end_hold_up_no_small_ones(
    parts: Parts, http: aiohttp.ClientSession, server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "BODY_TIMEOUT_S", 1.0)
    head = f"POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\nContent-Length: 2000000\r\n\r\n"
    held = []
    for _ in range(serving.MAX_BIG_BODIES + 1):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(head.encode())
        await writer.drain()
        held.append((reader, writer))
    assert (await send(http, "POST", CONFIG_MAPS, config_map("small")))[0] == 201
    async with asyncio.timeout(20):
        for reader, writer in held:
            assert await reader.readline() == b"HTTP/1.1 408 Request Timeout\r\n"
            writer.close()
