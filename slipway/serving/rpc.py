"""What every gRPC server of ours has besides its own methods: health, an answer for unknown ones, replies that are counted."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health

from slipway.contract.headers import REASON
from slipway.serving.admission import Ticket
from slipway.serving.errors import METHOD_UNKNOWN, grpc_details
from slipway.serving.rest import Sign


def hold_reply(reply: bytes, ticket: Ticket, context: Any) -> bytes:
    """Count the reply's bytes until the call ends: until then gRPC has them, whatever of them the client has read.

    ServingError 429 where they are too many (``Ticket.reply``).
    """
    written = ticket.reply(len(reply))
    context.add_done_callback(lambda _context: written())
    return reply


class Health(health.aio.HealthServicer):  # type: ignore[misc]  # grpc has no types
    """The standard service; its open watches end with the server instead of holding it up for the whole grace."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: set[asyncio.Task[None]] = set()

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 - the service's name
        watch = asyncio.create_task(super().Watch(request, context))
        self._watches.add(watch)
        try:
            await asyncio.wait({watch})
        finally:
            watch.cancel()
            self._watches.discard(watch)

    def end_watches(self) -> None:
        for watch in self._watches:
            watch.cancel()


class Unknown(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Every method that there is not: UNIMPLEMENTED as gRPC's own, but with a machine code and a signature."""

    def __init__(self, sign: Sign) -> None:
        self._sign = sign

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def refuse(_request: bytes, context: Any) -> bytes:
            named = ((REASON, METHOD_UNKNOWN), *self._sign().items())
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, grpc_details(f"no method {details.method}"), named)
            raise RuntimeError("abort did not raise")

        return grpc.unary_unary_rpc_method_handler(refuse)
