"""Nodes' answers are counted like bodies while they come in: what many clients ask for at once does not fill the memory."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import grpc
import pytest

from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor import engine
from slipway.serving.admission import Admission
from tests.executor.executors import Executor, executor
from tests.executor.nodes import Node, Reply, serving
from tests.waiting import eventually

ROOM_BYTES = 1000


@pytest.fixture(autouse=True)
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "Admission", partial(Admission, max_bytes=ROOM_BYTES))


async def test_answer_that_comes_slowly_takes_the_place_of_further_requests() -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            slow = (await reader.readuntil(b"\r\n\r\n")).startswith(b"POST") and not begun.is_set()
            size = 1500 if slow else 2
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size)
            writer.write(b"x" * (1200 if slow else 2))
            await writer.drain()
            if slow:
                begun.set()
                await release.wait()
                writer.write(b"x" * 300)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    endpoint = {"service_host": "127.0.0.1", "service_port": port, "httpPort": port, "grpcPort": port}
    async with server, executor({"name": "a", "type": "MODEL", "endpoint": endpoint}, ready=False) as client:
        first = asyncio.create_task(client.post())

        async def refused() -> str:
            found = await client.post()
            return found.body.decode() if found.status == 429 else ""

        await begun.wait()
        assert "nodes' answers of 1200 bytes are under way" in await eventually(refused)
        release.set()
        assert len((await first).body) == 1500
        assert (await client.post()).status == 200


async def statuses(client: Executor) -> tuple[int, str, grpc.StatusCode]:
    """Of one request over REST, its reason, and of one over gRPC."""
    answer = await client.post()
    try:
        await client.call(pb.SeldonMessage(strData="x"))
    except grpc.aio.AioRpcError as error:
        return answer.status, answer.headers.get("x-slipway-reason", ""), error.code()
    return answer.status, answer.headers.get("x-slipway-reason", ""), grpc.StatusCode.OK


async def test_answer_that_there_is_no_room_for_is_429_and_gives_back_what_came_of_it() -> None:
    node, size = Node("a"), 2001
    node.rest = lambda _: Reply(b"x" * size)
    node.grpc = lambda _, __: pb.SeldonMessage(binData=bytes(size)).SerializeToString()
    async with serving(node), executor(node.graph("MODEL")) as client:
        for _ in range(3):
            assert await statuses(client) == (429, "OVERLOADED", grpc.StatusCode.RESOURCE_EXHAUSTED)
        size = 900
        assert await statuses(client) == (200, "", grpc.StatusCode.OK)


async def test_answers_of_a_chain_count_together() -> None:
    first, second = Node("t"), Node("m")
    first.rest = second.rest = lambda _: Reply(b"x" * 1001)
    async with serving(first, second), executor(first.graph("TRANSFORMER", second.graph("MODEL"))) as client:
        assert (await client.post()).status == 429
        second.rest = lambda _: Reply(b"x" * 999)
        assert (await client.post()).status == 200
