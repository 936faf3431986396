"""Plain HTTP between the controller and the API: passes everything on, remembers it, and breaks what a plan says."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

Act = Literal["pass", "refuse", "hang", "hang-after", "lose", "reset", "truncate", "break", "repeat", "expire"]
"""What becomes of one request.

``refuse``: answered by the proxy with the plan's code. ``hang``: no answer, and nothing is passed on; ``hang-after`` and
``lose``: passed on, then no answer, or a connection that breaks. ``truncate``: half of the answer. Of a watch ``break``: it
ends amid an event; ``repeat``: each event comes twice; ``expire``: it ends with an event of 410.
"""
OF_WATCHES: frozenset[Act] = frozenset({"break", "repeat", "expire"})
OF_ANSWERS: frozenset[Act] = frozenset({"hang-after", "lose", "truncate"})
"""Of answers that end: a watch does not, until whoever watches ends it."""
NAMESPACE = re.compile(r"(?<=/namespaces/)[^/]+")
HEADERS = ("Authorization", "Content-Type", "Accept", "User-Agent")
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
MAX_BODY = 8 * 1024 * 1024


@dataclass(frozen=True)
class Request:
    """One request of the controller as the proxy saw it; ``code`` is the API's, 0 where it was not asked."""

    method: str
    path: str
    query: dict[str, str]
    content_type: str
    act: Act
    code: int
    at: float
    target: dict[str, Any] | None = None
    """Of a DELETE: the object as it was."""

    @property
    def is_watch(self) -> bool:
        return "watch" in self.query

    @property
    def is_write(self) -> bool:
        return self.method in WRITES


@dataclass(frozen=True)
class Plan:
    """Which requests are broken and how. ``share``: of those of ``kind``, chosen by a digest, so that a seed repeats.

    The name of a namespace is no part of it: each run has one of its own.
    """

    act: Act = "pass"
    kind: Literal["write", "list", "watch", "read", "any"] = "any"
    share: float = 0.0
    code: int = 500
    reason: str = "InternalError"
    seed: int = 1

    def __str__(self) -> str:
        return f"{self.act}-{self.kind}" + (f"-{self.code}" if self.act == "refuse" else "")

    def act_on(self, method: str, path: str, *, is_watch: bool, time_no: int) -> Act:
        """``time_no``: how often this method and path came before."""
        kinds = {"any", "watch" if is_watch else "write" if method in WRITES else "read"}
        if not is_watch and method == "GET" and path.count("/") - path.startswith("/apis") in (3, 5):
            kinds.add("list")
        if self.kind not in kinds or self.act in (OF_ANSWERS if is_watch else OF_WATCHES):
            return "pass"
        text = f"{self}/{self.seed}/{method}/{NAMESPACE.sub('*', path)}/{time_no}"
        drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32
        return self.act if drawn < self.share else "pass"


@dataclass
class Proxy:
    """In front of ``api``. ``on_write`` hears of each write that the API has answered.

    ``broken``: how often each plan's fault came to pass: a watch that breaks at its second event has to have one.
    """

    api: str
    plans: tuple[Plan, ...] = ()
    on_write: Callable[[Request], None] | None = None
    seen: list[Request] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)
    url: str = ""
    _times: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    _session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Proxy]:
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as self._session:
            server = TestServer(app, handler_cancellation=True)
            await server.start_server(shutdown_timeout=0.1)
            self.url = str(server.make_url("/")).rstrip("/")
            try:
                yield self
            finally:
                await server.close()

    def writes(self) -> list[Request]:
        return [request for request in self.seen if request.is_write]

    def deleted(self) -> list[Request]:
        return [request for request in self.seen if request.method == "DELETE" and request.code]

    def never(self) -> list[str]:
        """The plans whose fault did not come to pass."""
        return [str(plan) for plan in self.plans if not self.broken[str(plan)]]

    def _choose(self, request: web.Request) -> Plan:
        is_watch = "watch" in request.query
        key = (request.method, request.path, is_watch)
        self._times[key] += 1
        for plan in self.plans:
            if plan.act_on(request.method, request.path, is_watch=is_watch, time_no=self._times[key]) != "pass":
                return plan
        return Plan()

    def _came_to_pass(self, plan: Plan) -> None:
        self.broken[str(plan)] += 1

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        plan = self._choose(request)
        act = plan.act
        body = await request.read()
        if act in ("refuse", "hang", "reset"):
            self._note(request, act, 0)
            return await self._unasked(request, plan)
        assert self._session is not None
        target = await self._target(request) if request.method == "DELETE" else None
        headers = {name: request.headers[name] for name in HEADERS if name in request.headers}
        async with self._session.request(
            request.method, self.api + request.path_qs, data=body or None, headers=headers
        ) as answer:
            if "watch" in request.query and answer.status == 200:
                self._note(request, act, answer.status)
                return await self._stream(request, answer, plan)
            content = await answer.read()
        self._note(request, act, answer.status, target)
        return await self._answered(request, answer, content, plan)

    async def _answered(
        self, request: web.Request, answer: aiohttp.ClientResponse, content: bytes, plan: Plan
    ) -> web.StreamResponse:
        """Of what ends, a refused watch included."""
        act = plan.act if content else "pass"
        if act not in OF_ANSWERS:
            return web.Response(status=answer.status, body=content, headers={"Content-Type": answer.content_type})
        self._came_to_pass(plan)
        if act == "hang-after":
            await asyncio.Event().wait()
        if act == "lose":
            return _cut(request)
        half = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
        half.content_length = len(content)
        await half.prepare(request)
        await half.write(content[: len(content) // 2])
        return _cut(request, half)

    async def _unasked(self, request: web.Request, plan: Plan) -> web.StreamResponse:
        self._came_to_pass(plan)
        if plan.act == "hang":
            await asyncio.Event().wait()
        if plan.act == "reset":
            return _cut(request)
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": plan.code, "reason": plan.reason}
        headers = {"Retry-After": "1"} if plan.code == 429 else {}
        return web.json_response({**status, "message": "by the test"}, status=plan.code, headers=headers)

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse, plan: Plan) -> web.StreamResponse:
        """A watch, event by event; the second event is the one that breaks."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        count, rest = 0, b""
        async for chunk in answer.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                count += 1
                if plan.act == "break" and count == 2:
                    self._came_to_pass(plan)
                    await response.write(line[: len(line) // 2])
                    return _cut(request, response)
                if plan.act == "expire" and count == 2:
                    self._came_to_pass(plan)
                    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
                    await response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
                    return response
                await response.write(line + b"\n")
                if plan.act == "repeat":
                    self._came_to_pass(plan)
                    await response.write(line + b"\n")
        return response

    async def _target(self, request: web.Request) -> dict[str, Any] | None:
        """What is about to be deleted."""
        assert self._session is not None
        headers = {"Authorization": request.headers.get("Authorization", "")}
        async with self._session.get(self.api + request.path, headers=headers) as answer:
            return await answer.json() if answer.status == 200 else None

    def _note(self, request: web.Request, act: Act, code: int, target: dict[str, Any] | None = None) -> None:
        kind = request.headers.get("Content-Type", "")
        seen = Request(request.method, request.path, dict(request.query), kind, act, code, time.monotonic(), target)
        self.seen.append(seen)
        if seen.is_write and code and self.on_write is not None:
            self.on_write(seen)


def _cut(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """End the connection without the rest of an answer."""
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response()
