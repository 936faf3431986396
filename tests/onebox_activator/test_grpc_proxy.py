"""gRPC channels to Pods: as many as are allowed, and none waits for another's calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from slipway.onebox.activator import grpc_proxy
from slipway.onebox.activator.grpc_proxy import Channels
from slipway.onebox.mesh.ir import Endpoint


class Stuck(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Every call lasts until ``may_end``."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    def service(self, handler_call_details: Any) -> Any:
        del handler_call_details

        async def answer(message: bytes, context: Any) -> bytes:
            del context
            self.begun.set()
            await self.may_end.wait()
            return message

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def pod() -> AsyncIterator[tuple[Stuck, Endpoint]]:
    handler = Stuck()
    server = grpc.aio.server(handlers=(handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield handler, Endpoint("127.0.0.1", port)
    finally:
        handler.may_end.set()
        await server.stop(None)


async def test_channel_over_the_bound_does_not_wait_for_the_calls_of_the_one_it_replaces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grpc_proxy, "MAX_CHANNELS", 1)
    channels = Channels()
    async with pod() as (first, one), pod() as (_, other):
        call = (await channels.to(one)).unary_unary("/a/b")(b"1")
        await first.begun.wait()
        async with asyncio.timeout(20):
            await channels.to(other)
        first.may_end.set()
        assert await call == b"1"
        await channels.close()
