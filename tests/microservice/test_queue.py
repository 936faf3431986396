"""The bounded queue in front of a component: refused when full, dropped when the client has left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import pytest

from slipway.contract.protos import inference_pb2 as v2
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from slipway.microservice.threads import ComponentThreads
from tests.microservice.conftest import Serve, Served
from tests.waiting import eventually

HELD = "held"


class Model:
    """Holds the call of one text until told to go on; remembers every text."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.goes_on = threading.Event()

    def predict(self, X: Any, names: Any) -> Any:
        self.seen.append(X)
        if X == HELD:
            self.goes_on.wait(30)
        return X


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    one = Model()
    yield one
    one.goes_on.set()


async def _hold(served: Served, model: Model) -> asyncio.Task[tuple[int, Any]]:
    """A request that computes until the model goes on."""
    call = asyncio.create_task(served.post("/predict", {"strData": HELD}))
    await eventually(lambda: model.seen == [HELD])
    return call


async def _waiting(served: Served, count: int) -> None:
    """Until so many calls wait or compute."""
    await eventually(lambda: served.service.threads.busy == count, what=f"{count} calls")


async def test_requests_above_the_limit_are_refused_at_once_on_both_wires(serve: Serve, model: Model):
    served = await serve(model, max_in_flight=2)
    held = await _hold(served, model)
    queued = asyncio.create_task(served.post("/predict", {"strData": "queued"}))
    await _waiting(served, 2)
    status, refused = await served.post("/predict", {"strData": "late"})
    assert (status, refused["status"]["reason"]) == (429, "OVERLOADED")
    assert "2 requests are under way" in refused["status"]["info"]
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stubs.ModelStub(served.channel).Predict(pb.SeldonMessage(strData="late"))
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.value.trailing_metadata()["x-slipway-reason"] == "OVERLOADED"
    assert not held.done()
    model.goes_on.set()
    assert [status for status, _ in await asyncio.gather(held, queued)] == [200, 200]
    assert model.seen == [HELD, "queued"]


async def test_facts_are_told_while_the_queue_is_full(serve: Serve, model: Model):
    served = await serve(model, max_in_flight=1)
    held = await _hold(served, model)
    for path in ("/metadata", "/health/status", "/seldon.json"):
        assert (await served.get(path))[0] == 200
    await stubs.SeldonStub(served.channel).ModelMetadata(pb.SeldonModelMetadataRequest())
    model.goes_on.set()
    await held


async def test_queued_work_of_a_client_that_left_never_runs(serve: Serve, model: Model):
    served = await serve(model)
    held = await _hold(served, model)
    async with aiohttp.ClientSession() as impatient:
        gone = asyncio.create_task(impatient.post(served.url + "/predict", json={"strData": "gone"}))
        await _waiting(served, 2)
        gone.cancel()
        await _waiting(served, 1)
    over_grpc = stubs.ModelStub(served.channel).Predict(pb.SeldonMessage(strData="gone over gRPC"))
    await _waiting(served, 2)
    over_grpc.cancel()
    await _waiting(served, 1)
    assert served.service.admission.requests == 1, "what was dropped holds no place"
    model.goes_on.set()
    assert (await held)[0] == 200
    assert (await served.post("/predict", {"strData": "next"}))[0] == 200
    assert model.seen == [HELD, "next"]


async def test_queued_work_whose_deadline_passed_never_runs(serve: Serve, model: Model):
    served = await serve(model)
    held = await _hold(served, model)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stubs.ModelStub(served.channel).Predict(pb.SeldonMessage(strData="too late"), timeout=0.1)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await _waiting(served, 1)
    model.goes_on.set()
    await held
    assert model.seen == [HELD]


async def test_client_that_leaves_while_its_call_runs_frees_its_place_and_no_thread():
    threads = ComponentThreads(1)
    begun, goes_on, ran = threading.Event(), threading.Event(), []

    def first() -> None:
        begun.set()
        goes_on.wait(30)
        ran.append("first")

    try:
        running = asyncio.create_task(threads.run(first))
        await eventually(begun.is_set)
        running.cancel()
        second = asyncio.create_task(threads.run(lambda: ran.append("second")))
        assert not (await asyncio.wait({second}, timeout=0.05))[0], "the thread is still busy"
        goes_on.set()
        await second
        assert ran == ["first", "second"]
        await eventually(lambda: threads.busy == 0)
    finally:
        goes_on.set()
        threads.close()


REPLY_BYTES = 6_000_000


class Large:
    """A large answer to a small question."""

    def __init__(self, size_bytes: int = REPLY_BYTES) -> None:
        self.size_bytes = size_bytes

    def predict(self, X: Any, names: Any) -> bytes:
        return bytes(self.size_bytes)


async def _unread(served: Served, path: str) -> asyncio.StreamWriter:
    """A client that asks and reads nothing."""
    host, _, port = served.url.removeprefix("http://").partition(":")
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}' if "v2" in path else b'{"strData":"x"}'
    _, writer = await asyncio.open_connection(host, int(port), limit=1024)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    return writer


@pytest.mark.parametrize("path", ["/predict", "/v2/models/infer"])
async def test_reply_that_nobody_reads_is_counted_until_its_client_is_gone(serve: Serve, path: str):
    served = await serve(Large())
    admission = served.service.admission
    admission.max_bytes = 3 * REPLY_BYTES
    writers = [await _unread(served, path) for _ in range(2)]
    await eventually(lambda: admission.bytes >= 2 * REPLY_BYTES, what="two replies")
    assert admission.requests == 0
    status, refused = await served.post("/predict", {"strData": "x"})
    assert (status, refused["status"]["reason"]) == (429, "OVERLOADED")
    for writer in writers:
        writer.transport.abort()
    await eventually(lambda: admission.bytes == 0, what="no reply")
    assert (await served.post("/predict", {"strData": "x"}))[0] == 200
    assert admission.bytes == 0


async def test_grpc_reply_that_nobody_reads_is_counted_until_its_call_ends(serve: Serve):
    served = await serve(Large(2_000_000))
    admission = served.service.admission
    for _ in range(3):
        await stubs.ModelStub(served.channel).Predict(pb.SeldonMessage(strData="x"))
    await eventually(lambda: (admission.requests, admission.bytes) == (0, 0), what="no reply")
    admission.max_bytes = 100
    await stubs.ModelStub(served.channel).Predict(pb.SeldonMessage(strData="alone"))
    await eventually(lambda: admission.bytes == 0, what="no reply")
    admission.bytes += 50
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stubs.ModelStub(served.channel).Predict(pb.SeldonMessage(strData="x"))
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await eventually(lambda: (admission.requests, admission.bytes) == (0, 50), what="what the test holds")


async def test_grpc_messages_are_counted_in_bytes(serve: Serve, model: Model):
    served = await serve(model)
    served.service.admission.max_bytes = 100
    large = pb.SeldonMessage(strData="x" * 101).SerializeToString()
    tensor = v2.ModelInferRequest.InferInputTensor(name="x", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(b"x" * 101)
    infer = v2.ModelInferRequest(model_name="", inputs=[tensor]).SerializeToString()
    for method, message in (
        ("seldon.protos.Model/Predict", large),
        ("inference.GRPCInferenceService/ModelInfer", infer),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await served.channel.unary_unary(f"/{method}")(message)
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert model.seen == []
    assert (served.service.admission.requests, served.service.admission.bytes) == (0, 0)
