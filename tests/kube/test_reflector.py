"""The reflector keeps its copy through lost connections, expired versions and a server that is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from slipway.kube import reflector as reflector_module
from slipway.kube.client import Kube
from slipway.kube.kinds import CONFIG_MAP
from slipway.kube.kubeconfig import Access
from slipway.kube.reflector import BACKOFF_MAX_S, Change, Reflector, backoff_s
from tests.waiting import eventually


def config_map(name: str, version: int, value: str = "v") -> dict[str, Any]:
    meta = {"name": name, "namespace": "default", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"k": value}}


class FaultyApi:
    """Lists and watches from a script: each watch sends its lines, then ends or breaks."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = [config_map("a", 1)]
        self.version = 1
        self.watches: list[list[dict[str, Any] | bytes]] = []
        self.lists = 0
        self.asked: list[str] = []
        self.refuse_lists = 0
        self.always: list[dict[str, Any] | bytes] | None = None
        self.queries: list[dict[str, str]] = []
        self.page: Callable[[dict[str, str]], web.Response] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        if "watch" in request.query:
            return await self._watch(request)
        self.lists += 1
        if self.page is not None:
            return self.page(dict(request.query))
        if self.refuse_lists:
            self.refuse_lists -= 1
            return web.Response(status=503, text="not now")
        meta = {"resourceVersion": str(self.version)}
        return web.json_response({"kind": "ConfigMapList", "metadata": meta, "items": self.items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        script = self.watches.pop(0) if self.watches else self.always
        if script is None:
            await asyncio.sleep(3600)
        for line in script or ():
            await response.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
        return response


@pytest.fixture
async def api() -> FaultyApi:
    return FaultyApi()


@pytest.fixture
async def kube(api: FaultyApi) -> AsyncIterator[Kube]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", api.handle)
    server = TestServer(app, handler_cancellation=True)
    await server.start_server()
    async with Kube(Access(str(server.make_url("/")).rstrip("/"))) as kube:
        yield kube
    await server.close()


def names(reflector: Reflector) -> list[str]:
    return sorted(name for _, name in reflector.objects(CONFIG_MAP))


async def test_reflector_lists_then_follows_events(api: FaultyApi, kube: Kube) -> None:
    api.watches = [
        [
            {"type": "ADDED", "object": config_map("b", 2)},
            {"type": "DELETED", "object": config_map("a", 3)},
            {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}},
        ]
    ]
    async with Reflector(kube, [CONFIG_MAP]) as reflector:
        await reflector.wait_synced()
        await eventually(lambda: names(reflector) == ["b"])
        await eventually(lambda: api.asked[-1] == "9")
        assert api.lists == 1
        assert await reflector.changed() == {Change(CONFIG_MAP, "default", "a"), Change(CONFIG_MAP, "default", "b")}


async def test_reflector_lists_again_when_its_version_is_gone(api: FaultyApi, kube: Kube) -> None:
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}
    api.watches = [[gone]]
    async with Reflector(kube, [CONFIG_MAP]) as reflector:
        await reflector.wait_synced()
        api.items, api.version = [config_map("c", 7)], 7
        await eventually(lambda: names(reflector) == ["c"] or api.lists > 1)
        await eventually(lambda: api.asked[-1] in ("1", "7") and len(api.asked) == 2)
        assert api.lists == 2


@pytest.mark.parametrize("broken", [b'{"type": "ADDED", "obj', b"not json\n"])
async def test_reflector_resumes_after_a_broken_stream(api: FaultyApi, kube: Kube, broken: bytes) -> None:
    api.watches = [[{"type": "ADDED", "object": config_map("b", 2)}, broken]]
    async with Reflector(kube, [CONFIG_MAP]) as reflector:
        await eventually(lambda: len(api.asked) == 2)
        assert api.asked == ["1", "2"]
        assert names(reflector) == ["a", "b"]


async def test_reflector_waits_for_an_api_that_is_away(api: FaultyApi, kube: Kube) -> None:
    api.refuse_lists = 2
    async with Reflector(kube, [CONFIG_MAP]) as reflector:
        await asyncio.wait_for(reflector.wait_synced(), timeout=10)
        assert api.lists == 3
        assert names(reflector) == ["a"]


GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}


@pytest.mark.parametrize("always", [[], [GONE]])
async def test_api_that_ends_every_watch_at_once_is_asked_ever_less(
    api: FaultyApi, kube: Kube, always: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[int] = []

    def counted(failures: int) -> float:
        pauses.append(failures)
        return 0.0 if failures < 6 else 60.0

    monkeypatch.setattr(reflector_module, "backoff_s", counted)
    restarts: list[str] = []
    api.always = always
    async with Reflector(kube, [CONFIG_MAP], on_restart=lambda _, why: restarts.append(why)) as reflector:
        await eventually(lambda: 6 in pauses, what="the sixth failure in a row")
        assert pauses == [2, 3, 4, 5, 6], "only the first is taken up at once, also where lists succeed in between"
        assert set(restarts) == {"Expired" if always else "closed"}
        assert names(reflector) == ["a"]


async def test_events_that_come_twice_and_old_ones_do_no_harm(api: FaultyApi, kube: Kube) -> None:
    twice = {"type": "MODIFIED", "object": config_map("a", 3, "new")}
    gone = {"type": "DELETED", "object": config_map("b", 4)}
    api.watches = [[{"type": "ADDED", "object": config_map("b", 2)}, twice, twice, gone, gone]]
    async with Reflector(kube, [CONFIG_MAP]) as reflector:
        await eventually(lambda: api.asked[-1:] == ["4"])
        assert reflector.objects(CONFIG_MAP)["default", "a"]["data"] == {"k": "new"}
        assert names(reflector) == ["a"]


async def test_reflector_keeps_what_the_transform_makes_and_asks_with_its_selectors(api: FaultyApi, kube: Kube) -> None:
    def slim(obj: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in obj.items() if key != "data"}

    api.watches = [[{"type": "ADDED", "object": config_map("b", 2)}]]
    async with Reflector(kube, [CONFIG_MAP], field_selector="metadata.name=b", transform=slim) as reflector:
        await eventually(lambda: names(reflector) == ["a", "b"])
        assert not any("data" in obj for obj in reflector.objects(CONFIG_MAP).values())
    assert {query["fieldSelector"] for query in api.queries} == {"metadata.name=b"}


def test_backoff_grows_to_its_ceiling_and_is_jittered() -> None:
    longest = [backoff_s(n, draw=lambda: 1.0) for n in range(1, 40)]
    assert longest == sorted(longest)
    assert longest[-1] == BACKOFF_MAX_S
    assert backoff_s(3, draw=lambda: 0.0) == longest[2] / 2


async def test_list_is_read_in_pages_and_begun_anew_where_one_is_too_old(api: FaultyApi, kube: Kube) -> None:
    pages: list[str] = []

    def page(query: dict[str, str]) -> web.Response:
        pages.append(query.get("continue", ""))
        if pages == ["", "second"]:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "the continue parameter is too old"}
            return web.json_response(gone, status=410)
        is_last = query.get("continue") == "second"
        meta = {"resourceVersion": "7", **({} if is_last else {"continue": "second"})}
        return web.json_response({"metadata": meta, "items": [config_map("b" if is_last else "a", 1)]})

    api.page = page
    async with Reflector(kube, [CONFIG_MAP]) as reflector:
        await reflector.wait_synced()
        assert names(reflector) == ["a", "b"]
        assert pages == ["", "second", "", "second"]
        assert {query.get("limit") for query in api.queries if "watch" not in query} == {"500"}
