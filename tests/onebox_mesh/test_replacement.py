"""Envoy replaces a cluster whose endpoints changed. Nothing that runs, or comes meanwhile, may notice."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import aiohttp
import grpc
import pytest

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as pb_grpc
from tests.onebox_mesh.envoys import running_gateway
from tests.onebox_mesh.upstreams import loopback_address, running_upstreams
from tests.onebox_mesh.world import endpoint_slice, service, virtual_service, world
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"
METADATA = (("seldon", "yolo"), ("namespace", "default"))
SPLIT = {"stable": 0}
LARGE_GRPC = (("grpc.max_send_message_length", 2 * MAX_BODY_BYTES), ("grpc.max_receive_message_length", -1))
INSTANCES = 4
"""inotify instances of one Envoy: the clusters' file, the listeners', the routes', one to spare."""


def _objects(upstreams, ready=lambda _: True):
    return world([virtual_service(SPLIT)], upstreams.predictors(ready), ports=upstreams.ports)


@asynccontextmanager
async def _running(tmp_path, replicas, ready=lambda _: True):
    async with (
        running_upstreams(stable=replicas) as upstreams,
        running_gateway(tmp_path, _objects(upstreams, ready)) as gateway,
        aiohttp.ClientSession(base_url=gateway.url) as client,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.site.port}", options=LARGE_GRPC) as channel,
    ):
        yield gateway, upstreams, client, pb_grpc.SeldonStub(channel)


async def _post(client, body):
    async with client.post(PREDICTIONS, data=io.BytesIO(body)) as reply:
        return reply.status, await reply.json()


async def test_what_runs_on_a_replaced_cluster_ends_there(tmp_path):
    async with _running(tmp_path, 2) as (gateway, upstreams, client, stub):
        for member in upstreams.members:
            member.behave = "hold"
        halves = asyncio.Event()

        async def upload():
            yield b"x" * (MAX_BODY_BYTES // 2)
            await halves.wait()
            yield b"x" * (MAX_BODY_BYTES // 2)

        async def send_slowly():
            async with client.post(PREDICTIONS, data=upload()) as reply:
                return reply.status, await reply.json()

        large = pb.SeldonMessage(binData=b"x" * (MAX_BODY_BYTES - 64))
        calls = [stub.Predict(large, metadata=METADATA) for _ in range(4)]
        posts = [asyncio.create_task(_post(client, b"x" * MAX_BODY_BYTES)) for _ in range(4)]
        slow = asyncio.create_task(send_slowly())
        await eventually(lambda: sum(member.running for member in upstreams.members) == 8, what="eight at work")
        assert all(member.running for member in upstreams.members)
        for leaver in (*upstreams.members, upstreams.members[0]):
            assert await gateway.publish(_objects(upstreams, lambda member, gone=leaver: member is not gone))
        halves.set()
        await eventually(lambda: sum(member.running for member in upstreams.members) == 9, what="the slow upload")
        for member in upstreams.members:
            member.release.set()
        replies = await asyncio.gather(*posts, slow)
        messages = [await call for call in calls]
        retries = await gateway.counter("upstream_rq_retry")
    assert [status for status, _ in replies] == [200] * 5
    assert [body["jsonData"]["bytes"] for _, body in replies] == [MAX_BODY_BYTES] * 5
    assert [message.strData for message in messages] == ["stable"] * 4
    assert sum(len(member.seen) + len(member.grpc_calls) for member in upstreams.members) == 9
    assert retries == 0


async def test_endpoints_come_and_go_under_load_without_a_failure_or_a_retry(tmp_path):
    async with _running(tmp_path, 2) as (gateway, upstreams, client, stub):
        outcomes: Counter[str] = Counter()
        stop = asyncio.Event()
        large = b"x" * MAX_BODY_BYTES

        async def rest(body):
            while not stop.is_set():
                outcomes[f"rest {(await _post(client, body))[0]}"] += 1

        async def calls(size):
            message = pb.SeldonMessage(binData=b"x" * size)
            while not stop.is_set():
                await stub.Predict(message, metadata=METADATA)
                outcomes["grpc OK"] += 1

        async def twenty_more(what):
            goal = outcomes.total() + 20
            await eventually(lambda: outcomes.total() >= goal, what=what)

        loads = [rest(b"{}"), rest(b"{}"), rest(large), calls(0), calls(MAX_BODY_BYTES - 64)]
        tasks = [asyncio.create_task(load) for load in loads]
        leaver = upstreams.members[1]
        for _ in range(10):
            assert await gateway.publish(_objects(upstreams, lambda member: member is not leaver))
            await twenty_more("load on one replica")
            await eventually(lambda: not leaver.running, what="the end of what ran on the replica that left")
            leaver.behave = "reset"  # its process is gone: whoever asked it now would notice
            await twenty_more("load without it")
            leaver.behave = "ok"
            assert await gateway.publish(_objects(upstreams))
            await twenty_more("load on both")
        stop.set()
        await asyncio.gather(*tasks)
        assert await gateway.counter("upstream_rq_total") >= outcomes.total()
        retries = await gateway.counter("upstream_rq_retry")
    assert outcomes.keys() == {"rest 200", "grpc OK"}
    assert retries == 0


async def test_number_of_inotify_instances_does_not_grow_with_services(tmp_path):
    async with running_upstreams(stable=1) as upstreams:
        one = _objects(upstreams)
        names = [f"node-{index}" for index in range(60)]
        address = upstreams.members[0].address
        many = replace(
            one,
            services=(*one.services, *(service(name, {"http": 9000}, cluster_ip=loopback_address()) for name in names)),
            endpoint_slices=(
                *one.endpoint_slices,
                *(endpoint_slice(name, {"http": upstreams.ports["http"]}, {address: True}) for name in names),
            ),
        )
        async with running_gateway(tmp_path, one) as gateway, aiohttp.ClientSession() as client:
            assert await gateway.publish(many)
            for item in many.services[-60:]:
                url = f"http://{item['spec']['clusterIP']}:9000/predict"
                await eventually(
                    partial(_answers, client, url), what=url
                )  # Envoy's worker begins to listen a bit later
            counts = [_inotify_instances(process.pid) for process in gateway.processes]
    assert all(0 < count <= INSTANCES for count in counts), counts


async def _answers(client, url):
    try:
        async with client.post(url, data=b"{}") as reply:
            return reply.status == 200
    except aiohttp.ClientConnectorError:
        return False


def _inotify_instances(pid: int) -> int:
    links = (path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir())
    return sum(str(link) == "anon_inode:inotify" for link in links)
