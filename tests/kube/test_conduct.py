"""How the client behaves towards a server that is busy, refuses, or does not answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from slipway.kube.client import Kube
from slipway.kube.conduct import Conduct
from slipway.kube.errors import ApiError, KubeError, ServerError, Temporary, TooManyRequests, Unavailable
from slipway.kube.kinds import CONFIG_MAP, SECRET
from slipway.kube.kubeconfig import Access
from slipway.kube.rate import Rate
from slipway.kube.reflector import Reflector
from tests.cancelling import cancel_with_its_timeout
from tests.waiting import eventually

Answer = Callable[[web.Request], web.StreamResponse]
LIMIT_S = 0.2
OBJECT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}


class Api:
    def __init__(self) -> None:
        self.answer: Answer = lambda _: web.json_response(OBJECT)
        self.hangs = False
        self.seen: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request.method)
        if self.hangs:
            await asyncio.Event().wait()
        return self.answer(request)


@pytest.fixture
async def api() -> Api:
    return Api()


@pytest.fixture
async def url(api: Api) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", api.handle)
    async with TestServer(app, handler_cancellation=True) as server:
        yield str(server.make_url("/")).rstrip("/")


def status(code: int, **fields: object) -> Answer:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no", **fields}
    return lambda _: web.json_response(body, status=code)


@pytest.mark.parametrize(
    ("answer", "error", "wish_s"),
    [
        (status(429, details={"retryAfterSeconds": 3}), TooManyRequests, 3.0),
        (
            lambda _: web.Response(status=429, text="Too many requests", headers={"Retry-After": "7"}),
            TooManyRequests,
            7,
        ),
        (lambda _: web.Response(status=429, text="Too many requests"), TooManyRequests, 1.0),
        (lambda _: web.Response(status=503, text="starting", headers={"Retry-After": "4"}), Unavailable, 4.0),
        (lambda _: web.Response(status=502, text="<html>", headers={"Retry-After": "soon"}), Unavailable, None),
        (status(500, reason="InternalError"), ServerError, None),
        (status(504, reason="Timeout", details={"retryAfterSeconds": 2}), ServerError, 2.0),
    ],
)
async def test_wish_of_a_busy_server_is_known(
    api: Api, url: str, answer: Answer, error: type[Temporary], wish_s: float | None
) -> None:
    api.answer = answer
    async with Kube(Access(url)) as kube:
        with pytest.raises(error) as caught:
            await kube.get(CONFIG_MAP, "a", namespace="default")
    assert isinstance(caught.value, Temporary)
    assert caught.value.retry_after_s == wish_s


async def test_malformed_apply_is_no_reason_to_try_again(api: Api, url: str) -> None:
    api.answer = status(500, message="failed to create typed patch object (/a; /v1, Kind=ConfigMap): .x: field not …")
    async with Kube(Access(url)) as kube:
        with pytest.raises(ApiError) as caught:
            await kube.apply(OBJECT, field_manager="it")
    assert not isinstance(caught.value, Temporary)


async def test_answers_are_counted_and_slow_ones_end(api: Api, url: str) -> None:
    heard: list[tuple[str, str]] = []
    conduct = Conduct(on_answer=lambda method, code: heard.append((method, code)), timeout_s=1.0)
    async with Kube(Access(url), conduct=conduct) as kube:
        await kube.get(CONFIG_MAP, "a", namespace="default")
        api.answer = status(409)
        with pytest.raises(ApiError):
            await kube.apply(OBJECT, field_manager="it")
        api.hangs = True
        with pytest.raises(Unavailable, match="TimeoutError|imeout"):
            await kube.get(CONFIG_MAP, "a", namespace="default")
    assert heard == [("GET", "200"), ("PATCH", "409"), ("GET", "<error>")]


async def test_cancellation_that_comes_with_the_limit_of_a_request_is_heard(api: Api, url: str) -> None:
    api.hangs = True
    async with Kube(Access(url), conduct=Conduct(timeout_s=LIMIT_S)) as kube:
        task = asyncio.create_task(kube.get(CONFIG_MAP, "a", namespace="default"))
        await eventually(lambda: api.seen)
        await cancel_with_its_timeout(task, limit_s=LIMIT_S)


async def test_follower_whose_list_is_due_to_fail_ends_when_it_is_cancelled(api: Api, url: str) -> None:
    """It would go on for ever, and whoever leaves the reflector would wait for it."""
    api.hangs = True
    async with Kube(Access(url), conduct=Conduct(timeout_s=LIMIT_S)) as kube, Reflector(kube, [CONFIG_MAP]):
        await eventually(lambda: api.seen)
        follower = next(task for task in asyncio.all_tasks() if task.get_name() == f"reflector {CONFIG_MAP}")
        await cancel_with_its_timeout(follower, limit_s=LIMIT_S)


async def test_nothing_is_written_where_it_must_not_be(api: Api, url: str) -> None:
    def refuse() -> None:
        raise KubeError("not now")

    async with Kube(Access(url), conduct=Conduct(before_write=refuse)) as kube:
        await kube.get(CONFIG_MAP, "a", namespace="default")
        writes = (
            kube.apply(OBJECT, field_manager="it"),
            kube.create(OBJECT),
            kube.replace(OBJECT),
            kube.delete(CONFIG_MAP, "a", namespace="default"),
            kube.patch(SECRET, "a", {}, type="merge", namespace="default"),
        )
        for write in writes:
            with pytest.raises(KubeError, match="not now"):
                await write
    assert api.seen == ["GET"]


def test_rate_lets_a_burst_through_and_then_so_many_a_second() -> None:
    now = [0.0]
    rate = Rate(per_s=10, burst=3, clock=lambda: now[0])
    assert [round(rate.reserve(), 3) for _ in range(5)] == [0.0, 0.0, 0.0, 0.1, 0.2]
    now[0] = 0.2
    assert round(rate.reserve(), 3) == 0.1, "those before it have their turn first"
    now[0] = 100.0
    assert [round(rate.reserve(), 3) for _ in range(4)] == [0.0, 0.0, 0.0, 0.1], "never more than the burst is saved up"


async def test_requests_wait_for_their_turn_and_watches_do_not(api: Api, url: str) -> None:
    waited: list[float] = []

    class Counted(Rate):
        async def wait(self) -> None:
            waited.append(self.reserve())

    async with Kube(Access(url), conduct=Conduct(rate=Counted(per_s=1, burst=2))) as kube:
        for _ in range(3):
            await kube.get(CONFIG_MAP, "a", namespace="default")
        api.answer = lambda _: web.Response(text="")
        assert [event async for event in kube.watch(CONFIG_MAP, resource_version="1")] == []
    assert [pause > 0 for pause in waited] == [False, False, True]


@pytest.mark.parametrize(
    ("headers", "texts"),
    [
        ([], []),
        (['299 - "plain"'], ["plain"]),
        ([r'299 - "a \"quoted\" \\ word"'], [r'a "quoted" \ word']),
        (['299 - "one", 299 agent "two" "Sun, 06 Nov 1994 08:49:37 GMT"', '299 - "three"'], ["one", "two", "three"]),
        (["199 - unquoted", '299 - "without an end'], []),
    ],
)
@pytest.mark.parametrize("code", [200, 422])
async def test_warnings_of_an_answer_are_heard(
    api: Api, url: str, headers: list[str], texts: list[str], code: int
) -> None:
    api.answer = lambda _: web.json_response(OBJECT, status=code, headers=[("Warning", text) for text in headers])
    heard: list[str] = []
    async with Kube(Access(url), conduct=Conduct(on_warning=heard.append)) as kube:
        with contextlib.suppress(ApiError):
            await kube.get(CONFIG_MAP, "a", namespace="default")
    assert heard == texts
