"""Calls that get nowhere shut nobody out: messages that do not come, streams that stay open."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from slipway.serving import limits
from slipway.serving.lifecycle import Lifecycle
from slipway.serving.server import Grpc, Servers
from tests.waiting import eventually

METHOD = "/some.Service/Echo"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, END_STREAM, END_HEADERS = 1, 4, 1, 4
"""Frame types and flags of HTTP/2 (RFC 9113, section 6)."""


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def echo(request: bytes, _context: Any) -> bytes:
        return request

    handler = grpc.method_handlers_generic_handler("some.Service", {"Echo": grpc.unary_unary_rpc_method_handler(echo)})
    half = Grpc([handler], ["some.Service"], 0, max_calls=4)
    servers = await Servers.start(rest=[], grpc_half=half, lifecycle=Lifecycle(), host="127.0.0.1")
    assert servers.grpc_port is not None
    yield servers.grpc_port
    await servers.stop(0)


@pytest.fixture
async def channel(port: int) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as one:
        yield one


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def literal(name: str, value: str) -> bytes:
    """A header field of HPACK, without indexing (RFC 7541, section 6.2.2)."""
    return b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()


@asynccontextmanager
async def begun_calls(port: int, number: int, *, flags: int = END_HEADERS) -> AsyncIterator[asyncio.StreamReader]:
    """That many calls of which only the headers are sent; what the server says to them."""
    fields = {":method": "POST", ":scheme": "http", ":path": METHOD, ":authority": "x", "te": "trailers"}
    head = b"".join(literal(*pair) for pair in (*fields.items(), ("content-type", "application/grpc")))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    calls = b"".join(frame(HEADERS, flags, 1 + 2 * index, head) for index in range(number))
    writer.write(PREFACE + frame(SETTINGS, 0, 0) + calls)
    try:
        yield reader
    finally:
        writer.close()


async def said(reader: asyncio.StreamReader, *words: bytes) -> bytes:
    heard = b""
    async with asyncio.timeout(10):
        while not all(word in heard for word in words):
            heard += await reader.read(4096)
    return heard


async def call(channel: grpc.aio.Channel) -> tuple[grpc.StatusCode, str]:
    try:
        await channel.unary_unary(METHOD)(b"x")
    except grpc.aio.AioRpcError as error:
        return error.code(), str(dict(error.trailing_metadata() or ()).get("x-slipway-reason"))
    return grpc.StatusCode.OK, ""


async def test_calls_without_a_message_end_and_give_their_places_back(
    monkeypatch: pytest.MonkeyPatch, port: int, channel: grpc.aio.Channel
) -> None:
    async def is_served() -> bool:
        return (await call(channel))[0] is grpc.StatusCode.OK

    async def is_full() -> bool:
        return not await is_served()

    monkeypatch.setattr(limits, "BODY_READ_TIMEOUT_S", 1.0)
    async with begun_calls(port, 4) as reader:
        await eventually(is_full)
        await said(reader, b"the message did not arrive within 1 s", b"REQUEST_TIMEOUT")
        await eventually(is_served)


async def test_call_that_ends_without_a_message_is_the_client_s_mistake(port: int) -> None:
    async with begun_calls(port, 1, flags=END_HEADERS | END_STREAM) as reader:
        assert b"grpc-status" in await said(reader, b"the call has no message", b"MICROSERVICE_BAD_DATA")


async def test_streams_above_the_limit_are_refused_and_calls_are_not(
    monkeypatch: pytest.MonkeyPatch, channel: grpc.aio.Channel
) -> None:
    monkeypatch.setattr(limits, "MAX_STREAMS", 2)
    health = health_pb2_grpc.HealthStub(channel)
    watch = health.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
    await reflection.write(asked)
    assert "some.Service" in str(await reflection.read())
    for more in (
        health.Watch(health_pb2.HealthCheckRequest()),
        reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked])),
    ):
        with pytest.raises(grpc.aio.AioRpcError, match="2 streams") as refused:
            await more.read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert ("x-slipway-reason", "OVERLOADED") in tuple(refused.value.trailing_metadata())
    assert await call(channel) == (grpc.StatusCode.OK, "")
    watch.cancel()

    async def is_watched() -> bool:
        again = health.Watch(health_pb2.HealthCheckRequest())
        try:
            return (await again.read()).status == health_pb2.HealthCheckResponse.SERVING
        except grpc.aio.AioRpcError:
            return False
        finally:
            again.cancel()

    await eventually(is_watched)
    reflection.cancel()
