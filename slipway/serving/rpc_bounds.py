"""Bounds on gRPC calls that get nowhere: those whose message does not come, and streams that stay open.

gRPC counts both among the calls that it takes at a time (``MAX_CONCURRENT_RPCS``): a few hundred of them would shut everybody
out for as long as their client likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any

import grpc
import grpc.aio

from slipway.contract.headers import REASON
from slipway.serving import limits
from slipway.serving.errors import BAD_DATA, OVERLOADED, REQUEST_TIMEOUT

METHODS = 256
"""Those of whose handlers the bounded form is remembered: making it takes as long as all that it does."""
Behaviour = Callable[[Any, Any], Awaitable[Any]]


class BoundedCalls:
    """Stands in for a server while services are added to it: what it registers there has the bounds."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server
        self._streams: set[asyncio.Task[Any]] = set()

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self._server.add_generic_rpc_handlers(tuple(_Bounded(handler, self._streams) for handler in handlers))

    def add_registered_method_handlers(self, _service: str, _handlers: Any) -> None:
        """Nothing: these are the same handlers again, which the server would ask before those with the bounds."""


class _Bounded(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Another's methods with the bounds; gRPC asks for one in the task of its call."""

    def __init__(self, handler: grpc.GenericRpcHandler, streams: set[asyncio.Task[Any]]) -> None:
        self._handler = handler
        self._streams = streams

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        found, call = self._handler.service(details), asyncio.current_task()
        if found is None or call is None:
            return found
        if not (found.request_streaming or found.response_streaming):
            return _in_time(found)
        if len(self._streams) >= limits.MAX_STREAMS:
            make = (
                grpc.stream_stream_rpc_method_handler
                if found.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(_refuse, found.request_deserializer, found.response_serializer)
        self._streams.add(call)
        call.add_done_callback(self._streams.discard)
        return found


@lru_cache(maxsize=METHODS)
def _in_time(found: grpc.RpcMethodHandler) -> grpc.RpcMethodHandler:
    """``found``, which gets its one message from here: of a method that takes one, gRPC itself waits for it without end."""
    behave: Behaviour = found.unary_unary

    async def begun(_messages: Any, context: Any) -> Any:
        try:
            async with asyncio.timeout(limits.BODY_READ_TIMEOUT_S):
                request = await context.read()
        except TimeoutError:
            text = f"the message did not arrive within {limits.BODY_READ_TIMEOUT_S:g} s"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, text, ((REASON, REQUEST_TIMEOUT),))
        if request is grpc.aio.EOF:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call has no message", ((REASON, BAD_DATA),))
        answer = behave(request, context)
        del request  # gRPC keeps the frame of an abort until the next garbage collection
        return await answer

    return grpc.stream_unary_rpc_method_handler(begun, found.request_deserializer, found.response_serializer)


async def _refuse(_request: Any, context: Any) -> None:
    text = f"{limits.MAX_STREAMS} streams (health watches, reflection) are open here, the limit: try again later"
    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text, ((REASON, OVERLOADED),))
