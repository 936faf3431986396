"""A receiver of payload events: a real HTTP server on a free loopback port that keeps what comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from tests.waiting import eventually

REQUEST = "io.seldon.serving.inference.request"
RESPONSE = "io.seldon.serving.inference.response"
FEEDBACK = "io.seldon.serving.feedback"


@dataclass(frozen=True)
class Event:
    headers: CIMultiDict[str]
    body: bytes
    path: str = "/"

    @property
    def node(self) -> str:
        return self.headers["ce-modelid"]

    @property
    def kind(self) -> str:
        return self.headers["ce-type"]


@dataclass
class Receiver:
    """``status`` answers the nth event (from 0); ``gate``: no answer before it is set."""

    url: str = ""
    events: list[Event] = field(default_factory=list)
    status: Callable[[int], int] = lambda _: 202
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        number = len(self.events)
        self.events.append(Event(request.headers.copy(), await request.read(), request.path_qs))  # type: ignore[arg-type]
        await self.gate.wait()
        return web.Response(status=self.status(number), headers={"Location": "/elsewhere"})

    async def received(self, count: int) -> list[Event]:
        """The events, once there are ``count``; AssertionError if there are more."""
        await eventually(lambda: len(self.events) >= count, what=f"{count} events")
        assert len(self.events) == count
        return self.events

    def kinds(self) -> list[tuple[str, str]]:
        """(node, type) of every event, in a fixed order: several are sent at once."""
        return sorted((event.node, event.kind) for event in self.events)


@asynccontextmanager
async def receiver(*, answers: bool = True) -> AsyncIterator[Receiver]:
    """One that listens until the block ends; it answers 202 at once unless ``answers`` is False."""
    found = Receiver()
    if answers:
        found.gate.set()
    app = web.Application(client_max_size=2**28)
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield found
    finally:
        found.gate.set()
        await runner.cleanup()


def logged(sink: Receiver, mode: str = "all") -> dict[str, Any]:
    """What a node says that is logged to ``sink``."""
    return {"logger": {"mode": mode, "url": sink.url}}
