"""Every wait of the gateway ends. The limits are shortened, so that their ends can be waited for."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import grpc
import pytest

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as pb_grpc
from slipway.onebox.mesh import limits
from tests.onebox_mesh.envoys import running_gateway
from tests.onebox_mesh.upstreams import running_upstreams
from tests.onebox_mesh.world import virtual_service, world

pytestmark = pytest.mark.e2e
PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"
HEAD = f"POST {PREDICTIONS} HTTP/1.1\r\nhost: x\r\n"
SHORT_S = 0.4  # by Envoy's clock, which counts whole milliseconds
PATIENCE_S = 10.0


@asynccontextmanager
async def _running(tmp_path, **more):
    async with running_upstreams(stable=1) as upstreams:
        objects = world([virtual_service({"stable": 0}, **more)], upstreams.predictors(), ports=upstreams.ports)
        async with running_gateway(tmp_path, objects) as gateway:
            yield gateway, upstreams.members[0]
            upstreams.members[0].release.set()


async def _say(gateway, text):
    """What the gateway says to ``text`` until it closes the connection, and after how many seconds."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.site.port)
    writer.write(text.encode())
    answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    return answer.decode(), loop.time() - started


@pytest.mark.parametrize(
    ("limit", "sent"), [("HEADERS_TIMEOUT_S", HEAD), ("BODY_TIMEOUT_S", f"{HEAD}content-length: 100\r\n\r\nhalf")]
)
async def test_request_that_does_not_arrive_is_408(tmp_path, monkeypatch, limit, sent):
    monkeypatch.setattr(limits, limit, SHORT_S)
    async with _running(tmp_path) as (gateway, upstream):
        answer, took_s = await _say(gateway, sent)
    assert answer.startswith("HTTP/1.1 408 ")
    if limit == "BODY_TIMEOUT_S":
        assert "x-slipway-reason: REQUEST_TIMEOUT" in answer
        assert json.loads(answer.rpartition("\r\n\r\n")[2])["status"]["reason"] == "REQUEST_TIMEOUT"
    assert took_s >= 0.9 * SHORT_S
    assert not upstream.seen


@pytest.mark.parametrize("sent", ["", "GET /slipway/deployments.json HTTP/1.1\r\nhost: x\r\n\r\n"])
async def test_idle_connection_is_closed(tmp_path, monkeypatch, sent):
    monkeypatch.setattr(limits, "DOWNSTREAM_IDLE_S", SHORT_S)
    async with _running(tmp_path) as (gateway, _):
        answer, took_s = await _say(gateway, sent)
    assert answer.startswith("HTTP/1.1 200 " if sent else "")
    assert bool(answer) == bool(sent)
    assert took_s >= 0.9 * SHORT_S


async def test_predictor_that_does_not_answer_in_time_is_504_and_over_grpc_its_status(tmp_path):
    async with _running(tmp_path, timeout=f"{SHORT_S}s") as (gateway, upstream):
        upstream.behave = "stall"
        async with aiohttp.ClientSession(base_url=gateway.url) as client, client.post(PREDICTIONS, data=b"{}") as reply:
            body = await reply.json()
        assert (reply.status, reply.headers["x-slipway-reason"]) == (504, "UPSTREAM_TIMEOUT")
        assert (body["status"]["code"], body["status"]["reason"]) == (504, "UPSTREAM_TIMEOUT")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.site.port}") as channel:
            metadata = (("seldon", "yolo"), ("namespace", "default"))
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await pb_grpc.SeldonStub(channel).Predict(pb.SeldonMessage(), metadata=metadata, timeout=PATIENCE_S)
        assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert raised.value.details() == "the predictor did not answer in time"
    assert (len(upstream.seen), len(upstream.grpc_calls)) == (1, 1)


async def test_answer_that_stops_half_way_ends_the_connection(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "STREAM_IDLE_S", SHORT_S)
    async with _running(tmp_path) as (gateway, upstream):
        upstream.behave = "hold"
        answer, took_s = await _say(gateway, f"{HEAD}content-length: 2\r\n\r\n{{}}")
    assert answer.startswith("HTTP/1.1 200 ")
    assert not answer.endswith("}")
    assert took_s >= 0.9 * SHORT_S
