"""How the gateway counts what no executor answers: monitoring/rules/gateway.yml and its alerts read these counters."""

from __future__ import annotations

import io
import re
from contextlib import asynccontextmanager

import aiohttp
import grpc
import pytest

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as pb_grpc
from tests.onebox_mesh.envoys import Gateway, running_gateway
from tests.onebox_mesh.upstreams import running_upstreams
from tests.onebox_mesh.world import virtual_service, world
from tests.ports import free_port

pytestmark = pytest.mark.e2e
PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"
METADATA = (("seldon", "yolo"), ("namespace", "default"))
REST, GRPC = (f"cluster.outbound|{port}|stable|yolo-stable.default.svc.cluster.local" for port in (8000, 5001))
AT_THE_GATEWAY = "http.gateway.downstream_rq_5xx"


def _of_cluster(cluster: str, counter: str) -> str:
    """As a regular expression."""
    return f"{re.escape(cluster)}.{counter}"


@asynccontextmanager
async def _running(tmp_path, *, is_ready, listens=True):
    async with running_upstreams(stable=1) as upstreams:
        predictors = upstreams.predictors(lambda _: is_ready)
        ports = upstreams.ports if listens else {"http": free_port(), "grpc": free_port()}
        objects = world([virtual_service({"stable": 0})], predictors, ports=ports)
        async with running_gateway(tmp_path, objects) as gateway:
            yield gateway, upstreams.members[0]


async def _rest(gateway: Gateway) -> int:
    async with aiohttp.ClientSession() as client, client.post(gateway.url + PREDICTIONS, data=io.BytesIO(b"{}")) as one:
        await one.read()
        return one.status


async def _grpc(gateway: Gateway) -> grpc.StatusCode:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.site.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await pb_grpc.SeldonStub(channel).Predict(pb.SeldonMessage(), metadata=METADATA)
    return raised.value.code()


async def test_without_a_ready_pod_only_the_gateway_as_a_whole_counts_and_the_service_has_no_member(tmp_path):
    async with _running(tmp_path, is_ready=False) as (gateway, _):
        assert await _rest(gateway) == 503
        assert await _grpc(gateway) == grpc.StatusCode.UNAVAILABLE
        assert await gateway.counter(AT_THE_GATEWAY) == 1  # of gRPC the status is 200
        for cluster in (REST, GRPC):
            assert await gateway.counter(_of_cluster(cluster, "upstream_rq_5xx")) == 0
            for admin in gateway.admins:
                found = await admin.stats(_of_cluster(cluster, "membership_total$"))
                assert found == {f"{cluster}.membership_total": 0}


async def test_pod_that_drops_requests_is_counted_of_its_service(tmp_path):
    async with _running(tmp_path, is_ready=True) as (gateway, upstream):
        upstream.behave = "reset"
        assert await _rest(gateway) in (502, 503)
        assert await gateway.counter(_of_cluster(REST, "upstream_rq_5xx")) == 1
        assert await gateway.counter(AT_THE_GATEWAY) == 1
        assert await _grpc(gateway) == grpc.StatusCode.UNAVAILABLE  # what the executor itself says: status 200
        assert await gateway.counter(_of_cluster(GRPC, "upstream_rq_5xx")) == 0


async def test_pod_that_takes_no_connection_is_counted_of_its_service_over_grpc_too(tmp_path):
    async with _running(tmp_path, is_ready=True, listens=False) as (gateway, _):
        assert await _rest(gateway) in (502, 503)
        assert await _grpc(gateway) == grpc.StatusCode.UNAVAILABLE
        for cluster in (REST, GRPC):
            assert await gateway.counter(_of_cluster(cluster, "upstream_rq_5xx")) == 1
