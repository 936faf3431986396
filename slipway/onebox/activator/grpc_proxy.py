"""gRPC from the gateway to a Pod, once there is one: any method, messages as the bytes that they are."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from slipway.contract import headers
from slipway.onebox.activator.headers import NO_RETRY, passed_on, patience_s
from slipway.onebox.activator.held import NOT_AWAKE, Refused
from slipway.onebox.activator.hold import Hold
from slipway.onebox.activator.limits import (
    ANSWER_TIMEOUT_S,
    CONNECT_PAUSE_S,
    CONNECT_TIMEOUT_S,
    CONNECT_TRIES,
    MARGIN_S,
    MAX_CALLS,
    MAX_CHANNELS,
    MAX_MESSAGE_BYTES,
    UNKNOWN_BYTES,
)
from slipway.onebox.mesh.ir import Endpoint

SIZES = (("grpc.max_send_message_length", MAX_MESSAGE_BYTES), ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES))
Metadata = tuple[tuple[str, str | bytes], ...]
_OWN = ("grpc-", "content-type", "user-agent")
"""What a gRPC library writes itself."""


class Channels:
    """To Pods; at most MAX_CHANNELS, the one not used for longest goes."""

    def __init__(self) -> None:
        self._open: OrderedDict[Endpoint, grpc.aio.Channel] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    async def to(self, endpoint: Endpoint) -> grpc.aio.Channel:
        """Connected; TimeoutError where it cannot be in time."""
        channel = self._open.pop(endpoint, None) or grpc.aio.insecure_channel(
            f"{endpoint.address}:{endpoint.port}", options=(*SIZES, ("grpc.enable_retries", 0))
        )
        self._open[endpoint] = channel
        if len(self._open) > MAX_CHANNELS:
            _, oldest = self._open.popitem(last=False)
            closing = asyncio.create_task(oldest.close(grace=ANSWER_TIMEOUT_S))  # its calls may end, and delay nobody
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await channel.channel_ready()
        return channel

    async def close(self) -> None:
        """All of them, at once."""
        for closing in tuple(self._closing):
            closing.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        for channel in self._open.values():
            await channel.close()
        self._open.clear()


class GrpcProxy(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Every method is a stream of bytes in both directions; a unary call is one message each way."""

    def __init__(self, hold: Hold, channels: Channels) -> None:
        self._hold = hold
        self._channels = channels

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method

        async def answer(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            async for message in self._answer(method, messages, context):
                yield message

        return grpc.stream_stream_rpc_method_handler(answer)

    async def _answer(self, method: str, messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        given = tuple(context.invocation_metadata() or ())
        try:
            channel = await self._channel({key: value for key, value in given if isinstance(value, str)}, context)
        except Refused as refused:
            await context.abort(grpc.StatusCode.UNAVAILABLE, refused.info, _refusal(refused))
        call = channel.stream_stream(method)(
            messages, metadata=passing(given), timeout=context.time_remaining() or ANSWER_TIMEOUT_S
        )
        try:
            await context.send_initial_metadata(passing(tuple(await call.initial_metadata() or ())))
            async for message in call:
                yield message
            context.set_trailing_metadata(passing(tuple(await call.trailing_metadata() or ())))
            context.set_code(await call.code())
            context.set_details(await call.details())
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "", passing(tuple(error.trailing_metadata() or ())))
        finally:
            call.cancel()  # no effect on one that has ended

    async def _channel(self, fields: dict[str, str], context: Any) -> grpc.aio.Channel:
        left_s = context.time_remaining()
        within_s = patience_s(fields) if left_s is None else min(patience_s(fields), left_s - MARGIN_S)
        for _ in range(CONNECT_TRIES):
            endpoint = await self._hold.endpoint(
                fields.get(headers.WAKES, ""), size=UNKNOWN_BYTES, within_s=max(0.0, within_s)
            )
            try:
                return await self._channels.to(endpoint)
            except TimeoutError:
                await asyncio.sleep(CONNECT_PAUSE_S)
        raise Refused(NOT_AWAKE, f"the predictor's Pod was ready, but {CONNECT_TRIES} connections to it failed")


def passing(metadata: Metadata) -> Metadata:
    """Without what the library on the other side writes itself."""
    texts = {key for key, _ in passed_on([(key, "") for key, _ in metadata])}
    return tuple((key, value) for key, value in metadata if key in texts and not key.startswith(_OWN))


def _refusal(refused: Refused) -> Metadata:
    return ((headers.REASON, refused.reason), ("retry-after", str(refused.retry_after_s)), NO_RETRY)


def grpc_server(proxy: GrpcProxy) -> grpc.aio.Server:
    """Not started, without an address."""
    return grpc.aio.server(handlers=(proxy,), options=SIZES, maximum_concurrent_rpcs=MAX_CALLS)
