"""Replies that their clients do not read."""

from __future__ import annotations

import asyncio
import json

import grpc
import pytest

from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor import engine
from slipway.serving.admission import Admission
from tests.executor.executors import Executor, executor
from tests.executor.nodes import Node, Reply, serving
from tests.waiting import eventually

REPLY_BYTES = 6_000_000
MAX_BYTES = 15_000_000


@pytest.fixture
def admissions(monkeypatch: pytest.MonkeyPatch) -> list[Admission]:
    """Of the executors that a test starts; each holds two replies and a half."""
    made: list[Admission] = []

    class Small(Admission):
        def __init__(self, *, max_requests: int) -> None:
            super().__init__(max_requests=max_requests, max_bytes=MAX_BYTES)
            made.append(self)

    monkeypatch.setattr(engine, "Admission", Small)
    return made


async def unread(client: Executor) -> asyncio.StreamWriter:
    """A client that asks and reads nothing."""
    _, writer = await asyncio.open_connection("127.0.0.1", client.rest_port, limit=1024)
    head = (
        "POST /api/v1.0/predictions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    )
    writer.write(head.encode() + b"{}")
    return writer


async def test_reply_that_nobody_reads_is_counted_until_its_client_is_gone(admissions: list[Admission]) -> None:
    node = Node("a")
    node.rest = lambda _: Reply(bytes(REPLY_BYTES), headers={"Content-Type": "application/octet-stream"})
    async with serving(node), executor(node.graph("MODEL")) as client:
        [admission] = admissions
        writers = [await unread(client) for _ in range(2)]
        await eventually(lambda: admission.bytes >= 2 * REPLY_BYTES, what="two replies")
        assert admission.requests == 0
        refused = await client.post()
        for writer in writers:
            writer.transport.abort()
        await eventually(lambda: admission.bytes == 0, what="no reply")
        served = await client.post()
        assert admission.bytes == 0
    assert (refused.status, json.loads(refused.body)["status"]["reason"]) == (429, "OVERLOADED")
    assert refused.headers["seldon-puid"]
    assert (served.status, len(served.body)) == (200, REPLY_BYTES)
    assert served.headers["seldon-puid"]


async def test_grpc_reply_is_counted_until_its_call_ends(admissions: list[Admission]) -> None:
    node = Node("a")
    answer = pb.SeldonMessage(binData=bytes(REPLY_BYTES)).SerializeToString()
    node.grpc = lambda *_: answer
    async with serving(node), executor(node.graph("MODEL")) as client:
        [admission] = admissions
        ask = client.channel.unary_unary("/seldon.protos.Seldon/Predict")
        admission.bytes += MAX_BYTES - 1000
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(b"")
        admission.bytes = 0
        with pytest.raises(grpc.aio.AioRpcError) as too_large:  # for this client, not for the executor
            await ask(b"")
        await eventually(lambda: (admission.requests, admission.bytes) == (0, 0), what="no reply")
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "under way here" in (refused.value.details() or "")
    assert "larger than max" in (too_large.value.details() or "")
