"""Small REST and gRPC servers that stand in for executors, each on a loopback address of its own."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from aiohttp import web

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as pb_grpc
from tests.ports import free_port

_counter = itertools.count(random.randrange(2**15))


def loopback_address() -> str:
    number = next(_counter) % 2**15
    return f"127.{64 + number // 2**8 % 128}.{number % 2**8}.{random.randrange(1, 255)}"


@dataclass
class Upstream:
    """One predictor replica. ``seen`` holds (path, body length, headers), ``running`` counts what is not answered yet.

    ``behave`` is "ok", "503", "reset", "stall" (no answer until ``release`` is set), "hold" (half of it at once) or
    "full" (429 before the body is read).
    """

    predictor: str
    address: str
    behave: str = "ok"
    reply: dict[str, Any] | None = None
    seen: list[tuple[str, int, dict[str, str]]] = field(default_factory=list)
    grpc_calls: list[str] = field(default_factory=list)
    grpc_metadata: list[dict[str, str]] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.seen]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.running += 1
        try:
            return await self._answer(request)
        finally:
            self.running -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.behave == "full":
            return web.Response(status=429, headers={"x-slipway-reason": "OVERLOADED"})
        body = await request.read()
        self.seen.append((request.path, len(body), {name.lower(): value for name, value in request.headers.items()}))
        if self.behave == "reset":
            assert request.transport is not None
            request.transport.abort()
        if self.behave == "stall":
            await self.release.wait()
        text = json.dumps(self.reply or {"jsonData": {"predictor": self.predictor, "bytes": len(body)}}).encode()
        response = web.StreamResponse(
            status=503 if self.behave == "503" else 200,
            headers={
                "x-slipway-predictor": self.predictor,
                "x-slipway-model": "yolo/3 sha256:0",
                "content-type": "application/json",
                "content-length": str(len(text)),
            },
        )
        await response.prepare(request)
        await response.write(text[:9])
        if self.behave == "hold":
            await self.release.wait()
        await response.write(text[9:])
        return response


class _Seldon(pb_grpc.SeldonServicer):
    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    async def Predict(self, request, context):  # noqa: N802  - the service's name
        self.upstream.running += 1
        try:
            return await self._answer("Predict", context)
        finally:
            self.upstream.running -= 1

    async def SendFeedback(self, request, context):  # noqa: N802  - the service's name
        return await self._answer("SendFeedback", context)

    async def _answer(self, method, context):
        self.upstream.grpc_calls.append(method)
        self.upstream.grpc_metadata.append(dict(context.invocation_metadata()))
        if self.upstream.behave in {"hold", "stall"}:
            await self.upstream.release.wait()
        elif self.upstream.behave != "ok":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "asked to fail")
        await context.send_initial_metadata([("x-slipway-predictor", self.upstream.predictor)])
        return pb.SeldonMessage(strData=self.upstream.predictor)


@dataclass
class Upstreams:
    ports: dict[str, int]
    members: list[Upstream]

    def of(self, predictor: str) -> list[Upstream]:
        return [member for member in self.members if member.predictor == predictor]

    def predictors(self, ready: Callable[[Upstream], bool] = lambda _: True) -> dict[str, dict[str, bool]]:
        """As ``world`` takes them."""
        found: dict[str, dict[str, bool]] = {}
        for member in self.members:
            found.setdefault(member.predictor, {})[member.address] = ready(member)
        return found


@asynccontextmanager
async def running_upstreams(**replicas: int) -> AsyncIterator[Upstreams]:
    """``running_upstreams(stable=2, canary=1)``: REST and gRPC servers, the same two ports on every address."""
    members = [Upstream(name, loopback_address()) for name, count in replicas.items() for _ in range(count)]
    ports = {"http": free_port(), "grpc": free_port()}
    async with AsyncExitStack() as stack:
        for member in members:
            application = web.Application(client_max_size=2 * MAX_BODY_BYTES)
            application.router.add_route("*", "/{rest:.*}", member.answer)
            runner = web.AppRunner(application, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, member.address, ports["http"]).start()
            server = grpc.aio.server(options=[("grpc.max_receive_message_length", 2 * MAX_BODY_BYTES)])
            pb_grpc.add_SeldonServicer_to_server(_Seldon(member), server)
            server.add_insecure_port(f"{member.address}:{ports['grpc']}")
            await server.start()
            stack.push_async_callback(server.stop, None)
        yield Upstreams(ports, members)
        await asyncio.sleep(0)
