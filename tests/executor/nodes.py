"""Real nodes for tests: REST and gRPC servers on free loopback ports that do as they are told and remember what came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from aiohttp import web
from multidict import CIMultiDict

from slipway.contract.protos import prediction_pb2 as pb


@dataclass
class Seen:
    path: str
    headers: CIMultiDict[str]
    body: bytes
    peer: object = None


@dataclass
class Reply:
    body: bytes = b'{"data":{"ndarray":[[1]]}}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


RestBehaviour = Callable[[Seen], Awaitable[Reply] | Reply]
GrpcBehaviour = Callable[[str, bytes], Awaitable[bytes] | bytes]


@dataclass
class Node:
    """One node; ``rest`` and ``grpc`` may be replaced while it serves."""

    name: str
    http_port: int = 0
    grpc_port: int = 0
    seen: list[Seen] = field(default_factory=list)
    grpc_seen: list[tuple[str, dict[str, Any], bytes]] = field(default_factory=list)
    rest: RestBehaviour = lambda _: Reply()
    grpc: GrpcBehaviour = lambda _, request: request
    trailing: tuple[tuple[str, str], ...] = ()
    """Trailing metadata of every gRPC answer."""
    metadata: Reply | Awaitable[Reply] = field(default_factory=lambda: Reply(b'{"name":"image","versions":["1"]}'))
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def endpoint(self) -> dict[str, Any]:
        return {
            "service_host": "127.0.0.1",
            "service_port": self.http_port,
            "httpPort": self.http_port,
            "grpcPort": self.grpc_port,
        }

    def graph(self, kind: str, *children: dict[str, Any], **fields: Any) -> dict[str, Any]:
        return {"name": self.name, "type": kind, "endpoint": self.endpoint(), "children": list(children), **fields}

    def calls(self) -> list[Seen]:
        """What came, without the executor's own look at the metadata."""
        return [seen for seen in self.seen if seen.path != "/metadata"]

    async def answer(self, request: web.Request) -> web.Response:
        seen = Seen(
            request.path,
            CIMultiDict(request.headers),
            await request.read(),
            request.transport and request.transport.get_extra_info("peername"),
        )
        self.seen.append(seen)
        try:
            reply = self.metadata if request.path == "/metadata" else self.rest(seen)
            if isinstance(reply, Awaitable):
                reply = await reply
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    async def answer_grpc(self, method: str, request: bytes, context: Any) -> bytes:
        self.grpc_seen.append((method, dict(context.invocation_metadata()), request))
        context.set_trailing_metadata(self.trailing)
        if method == "/seldon.protos.Model/Metadata":
            return pb.SeldonModelMetadata(name=self.name, versions=["1"]).SerializeToString()
        try:
            answer = self.grpc(method, request)
            return await answer if isinstance(answer, Awaitable) else answer
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        except Refusal as refusal:
            await context.abort(refusal.code, refusal.text, trailing_metadata=refusal.trailing)
            raise


class Refusal(Exception):
    """What a gRPC behaviour raises to answer with a status."""

    def __init__(self, code: grpc.StatusCode, text: str, *trailing: tuple[str, str]) -> None:
        super().__init__(text)
        self.code, self.text, self.trailing = code, text, trailing


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, node: Node) -> None:
        self.node = node

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def serve(request: bytes, context: Any) -> bytes:
            return await self.node.answer_grpc(details.method, request, context)

        return grpc.unary_unary_rpc_method_handler(serve)


@asynccontextmanager
async def serving(*nodes: Node) -> AsyncIterator[None]:
    """The nodes listen until the block ends."""
    stops: list[Callable[[], Awaitable[Any]]] = []
    try:
        for node in nodes:
            stops.append(await _serve_rest(node))
            stops.append(await _serve_grpc(node))
        yield
    finally:
        for stop in stops:
            await stop()


async def _serve_rest(node: Node) -> Callable[[], Awaitable[Any]]:
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", node.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", node.http_port)
    await site.start()
    node.http_port = runner.addresses[0][1]
    return runner.cleanup


async def _serve_grpc(node: Node) -> Callable[[], Awaitable[Any]]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 2**26)])
    server.add_generic_rpc_handlers((_Handler(node),))
    node.grpc_port = server.add_insecure_port(f"127.0.0.1:{node.grpc_port}")
    await server.start()
    return lambda: server.stop(0)
