from __future__ import annotations

import asyncio
import io
import json
import random
import socket
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import grpc
import pytest

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as pb_grpc
from slipway.onebox.mesh.layout import ENVOYS
from slipway.onebox.mesh.render import render
from slipway.onebox.mesh.steps import LISTENERS_STAT, ROUTES_STAT
from slipway.onebox.mesh.translate import translate
from slipway.serving.body import payload_too_large
from tests.onebox_mesh.envoys import Gateway, running_gateway, start_envoy
from tests.onebox_mesh.upstreams import Upstreams, loopback_address, running_upstreams
from tests.onebox_mesh.world import destination_rule, virtual_service, world
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"
METADATA = (("seldon", "yolo"), ("namespace", "default"))
BOTH = {"stable": 90, "canary": 10}
LOADERS = 4
ANSWER_S = 10.0
MIRRORED_BYTES = 8 * 2**20
IN_TURN = [destination_rule("stable", loadBalancer={"simple": "ROUND_ROBIN"})]  # so that every replica is asked


def _objects(upstreams: Upstreams, weights, ready=lambda _: True, *, rules=None, **more):
    predictors = upstreams.predictors(ready)
    return world([virtual_service(weights, **more)], predictors, ports=upstreams.ports, rules=rules)


@asynccontextmanager
async def _running(tmp_path, weights, *, replicas, **more):
    async with (
        running_upstreams(**replicas) as upstreams,
        running_gateway(tmp_path, _objects(upstreams, weights, **more)) as gateway,
        aiohttp.ClientSession(base_url=gateway.url) as client,
    ):
        yield gateway, upstreams, client


async def _predictor(client, *, path=PREDICTIONS, data=b"{}"):
    async with client.post(path, data=io.BytesIO(data)) as reply:
        await reply.read()
        return reply.status, reply.headers.get("x-slipway-predictor")


@asynccontextmanager
async def _stub(gateway: Gateway):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.site.port}") as channel:
        yield pb_grpc.SeldonStub(channel)


async def test_gateway_splits_by_weight_over_rest_and_grpc(tmp_path):
    async with (
        _running(tmp_path, BOTH, replicas={"stable": 1, "canary": 1}) as (gateway, _, client),
        _stub(gateway) as stub,
    ):
        rest = Counter([await _predictor(client) for _ in range(1000)])
        calls = Counter([(await stub.Predict(pb.SeldonMessage(), metadata=METADATA)).strData for _ in range(1000)])
    assert rest.keys() == {(200, "stable"), (200, "canary")}
    assert calls.keys() == {"stable", "canary"}
    # Binomial(2000, 0.1): mean 200, standard deviation 13.4; outside 5 of them once in 1.7 million runs.
    assert 200 - 67 <= rest[(200, "canary")] + calls["canary"] <= 200 + 67


async def test_gateway_changes_weights_under_load_without_a_failure(tmp_path):
    async with _running(tmp_path, BOTH, replicas={"stable": 1, "canary": 1}) as (gateway, upstreams, client):
        statuses: Counter[int] = Counter()
        stop = asyncio.Event()

        async def load():
            while not stop.is_set():
                status, _ = await _predictor(client)
                statuses[status] += 1

        loaders = [asyncio.create_task(load()) for _ in range(4)]
        for weights in ({"stable": 50, "canary": 50}, {"stable": 0, "canary": 100}, {"stable": 100, "canary": 0}) * 3:
            assert await gateway.publish(_objects(upstreams, weights))
            only = [name for name, weight in weights.items() if weight == 100]
            if only:
                await asyncio.gather(*(_predictor(client) for _ in range(8)))  # what was under way is through
                assert {await _predictor(client) for _ in range(60)} == {(200, only[0])}
        stop.set()
        await asyncio.gather(*loaders)
    assert statuses.keys() == {200}
    assert statuses[200] > 200


async def test_gateway_takes_a_new_predictor_under_load_and_drops_an_old_one(tmp_path):
    replicas = {"stable": 1, "canary": 1}
    async with _running(tmp_path, {"stable": 0}, replicas=replicas) as (gateway, upstreams, client):
        statuses: Counter[int] = Counter()
        stop = asyncio.Event()

        async def load():
            while not stop.is_set():
                statuses[(await _predictor(client))[0]] += 1

        loaders = [asyncio.create_task(load()) for _ in range(4)]
        only_stable = _objects(upstreams, {"stable": 0})
        stable = replace(
            only_stable,
            services=only_stable.services[:1],
            destination_rules=only_stable.destination_rules[:1],
            endpoint_slices=only_stable.endpoint_slices[:1],
        )
        for _ in range(5):
            assert await gateway.publish(stable)
            assert await gateway.publish(_objects(upstreams, {"canary": 0}))
        stop.set()
        await asyncio.gather(*loaders)
        names = {item["name"] for item in json.loads(gateway.layout.clusters.read_text())["resources"]}
    assert statuses.keys() == {200}
    assert names == {f"outbound|{port}|canary|yolo-canary.default.svc.cluster.local" for port in (8000, 5001)}


async def test_one_envoy_killed_under_load_refuses_no_connection(tmp_path):
    async with _running(tmp_path, BOTH, replicas={"stable": 1, "canary": 1}) as (gateway, _, _):
        outcomes: Counter[str] = Counter()
        stop = asyncio.Event()
        fresh = aiohttp.TCPConnector(force_close=True)  # every request on a new connection

        async def load(client):
            while not stop.is_set():
                try:
                    outcomes[str((await _predictor(client))[0])] += 1
                except aiohttp.ClientError as exc:
                    outcomes["refused" if isinstance(exc.__cause__, ConnectionRefusedError) else "broken"] += 1

        async with aiohttp.ClientSession(base_url=gateway.url, connector=fresh) as client:
            loaders = [asyncio.create_task(load(client)) for _ in range(LOADERS)]
            for index in ENVOYS:
                await eventually(lambda goal=outcomes["200"] + 100: outcomes["200"] >= goal, what="load")
                gateway.processes[index].kill()
                await gateway.processes[index].wait()
                at_death = outcomes["broken"]
                await eventually(lambda goal=outcomes["200"] + 100: outcomes["200"] >= goal, what="the other Envoy")
                assert outcomes["broken"] - at_death <= LOADERS, outcomes  # under way when it died, and no later one
                gateway.processes[index] = await start_envoy(gateway.layout, index)
                await eventually(gateway.admins[index].ready, timeout_s=20, what="the restarted Envoy")
            stop.set()
            await asyncio.gather(*loaders)
    assert outcomes["refused"] == 0, outcomes
    # Of each kill: a loader's request in work, and its next one, queued at a socket that the kernel has yet to close.
    assert outcomes["broken"] <= len(ENVOYS) * 2 * LOADERS, outcomes


async def test_publish_does_not_wait_for_an_envoy_that_is_down(tmp_path):
    async with _running(tmp_path, BOTH, replicas={"stable": 1, "canary": 1}) as (gateway, upstreams, client):
        gateway.processes[1].kill()
        await gateway.processes[1].wait()
        started = asyncio.get_running_loop().time()
        assert await gateway.publish(_objects(upstreams, {"stable": 0, "canary": 100}))
        assert asyncio.get_running_loop().time() - started < 1
        assert await _predictor(client) == (200, "canary")


@pytest.mark.parametrize("failure", ["503", "reset"])
async def test_gateway_retries_on_another_replica(tmp_path, failure):
    async with (
        _running(tmp_path, {"stable": 0}, replicas={"stable": 2}, rules=IN_TURN) as (gateway, upstreams, client),
        _stub(gateway) as stub,
    ):
        upstreams.members[0].behave = failure
        assert Counter([await _predictor(client) for _ in range(20)]) == {(200, "stable"): 20}
        for _ in range(20):
            await stub.Predict(pb.SeldonMessage(), metadata=METADATA)
        logs = "".join(gateway.layout.access_log(index).read_text() for index in ENVOYS)
    assert upstreams.members[0].seen, logs  # it was asked, and failed
    assert "Predict" in upstreams.members[0].grpc_calls


async def test_largest_body_is_retried_and_mirrored(tmp_path):
    replicas = {"stable": 2, "dark": 1}
    rules = [*IN_TURN, destination_rule("dark")]
    async with _running(tmp_path, {"stable": 0}, replicas=replicas, shadow=("dark", None), rules=rules) as (
        gateway,
        upstreams,
        client,
    ):
        upstreams.of("stable")[0].behave = "503"
        body = b"x" * MAX_BODY_BYTES
        for _ in range(3):
            assert await _predictor(client, data=body) == (200, "stable")
        dark = upstreams.of("dark")[0]
        await eventually(lambda: len(dark.seen) == 3, what="three mirrored requests")
        assert {size for member in upstreams.members for _, size, _ in member.seen} == {MAX_BODY_BYTES}
        assert upstreams.of("stable")[0].seen
        assert await gateway.counter("retry_or_shadow_abandoned") == 0


async def test_bodies_up_to_eight_mib_are_mirrored_at_least_999_times_of_1000(tmp_path):
    choice = random.Random(7)
    sizes = [MIRRORED_BYTES] * 10 + [int(2 ** choice.uniform(0, 20)) for _ in range(990)]
    choice.shuffle(sizes)
    rest = iter(sizes)
    replicas = {"stable": 1, "dark": 1}
    async with _running(tmp_path, {"stable": 0}, replicas=replicas, shadow=("dark", None)) as (_, upstreams, client):

        async def send() -> None:
            for size in rest:
                assert await _predictor(client, data=bytes(size)) == (200, "stable")

        await asyncio.gather(*(send() for _ in range(LOADERS)))
        dark = upstreams.of("dark")[0]
        await eventually(lambda: len(dark.seen) >= 0.999 * len(sizes), what="the copies")
        await eventually(lambda: dark.running == 0, what="the last copies")
        seen = Counter(size for _, size, _ in dark.seen)
    assert not seen - Counter(sizes)
    assert seen[MIRRORED_BYTES] == 10


async def test_body_above_the_limit_is_the_components_413(tmp_path):
    async with _running(tmp_path, {"stable": 0}, replicas={"stable": 1}) as (_, upstreams, client):
        async with client.post(PREDICTIONS, data=io.BytesIO(b"x" * (MAX_BODY_BYTES + 1))) as reply:
            body = await reply.json()
        assert reply.status == 413
        assert reply.headers["x-slipway-reason"] == "PAYLOAD_TOO_LARGE"
        assert reply.headers["content-type"] == "application/json"
    error = payload_too_large()
    assert body == {"status": {"status": 1, "info": str(error), "code": -1, "reason": error.reason}}
    assert not upstreams.members[0].seen


async def test_refusal_of_an_executor_comes_before_the_body_is_read(tmp_path):
    async with _running(tmp_path, {"stable": 0}, replicas={"stable": 1}) as (gateway, upstreams, _):
        upstreams.members[0].behave = "full"
        assert "x-slipway-reason: overloaded" in await _answer_to_the_head(gateway, status=429)


async def _answer_to_the_head(gateway: Gateway, *, status: int) -> str:
    """The head of the answer to a request whose body stops after the first hundredth, in lower case."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.site.port)
    head = f"POST {PREDICTIONS} HTTP/1.1\r\nhost: gateway\r\ncontent-length: 100000\r\n\r\n"
    writer.write(head.encode() + b"x" * 1000)
    async with asyncio.timeout(ANSWER_S):
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    writer.close()
    assert answer.startswith(f"http/1.1 {status} ")
    return answer


async def test_requests_above_the_declared_number_are_refused_before_their_bodies_are_read(tmp_path):
    rules = [destination_rule("stable", connectionPool={"http": {"http2MaxRequests": 4}})]
    async with _running(tmp_path, {"stable": 0}, replicas={"stable": 1}, rules=rules) as (gateway, upstreams, client):
        member = upstreams.members[0]
        member.behave = "stall"
        held = [asyncio.create_task(_predictor(client)) for _ in range(64)]  # both Envoys get some, by chance
        await eventually(lambda: sum(task.done() for task in held) == 60, what="60 refusals")
        await eventually(lambda: member.running == 4, what="the four others on their way")
        for _ in range(4):
            assert "x-slipway-reason: overloaded" in await _answer_to_the_head(gateway, status=503)
        member.release.set()
        assert Counter(await asyncio.gather(*held)) == {(503, None): 60, (200, "stable"): 4}


async def test_unready_predictor_gets_nothing_and_comes_back(tmp_path):
    async with _running(tmp_path, BOTH, replicas={"stable": 1, "canary": 1}) as (gateway, upstreams, client):
        assert await gateway.publish(_objects(upstreams, BOTH, lambda member: member.predictor != "stable"))
        assert {await _predictor(client) for _ in range(50)} == {(200, "canary")}
        assert await gateway.publish(_objects(upstreams, BOTH))
        assert (200, "stable") in {await _predictor(client) for _ in range(50)}


async def test_all_unready_is_503_with_a_reason_and_never_the_shadow(tmp_path):
    replicas = {"stable": 1, "canary": 1, "dark": 1}
    async with _running(tmp_path, BOTH, replicas=replicas, shadow=("dark", None)) as (gateway, upstreams, client):
        unready = _objects(upstreams, BOTH, lambda member: member.predictor == "dark", shadow=("dark", None))
        assert await gateway.publish(unready)
        async with client.post(PREDICTIONS, data=b"{}") as reply:
            body = await reply.json()
        assert (reply.status, reply.headers["x-slipway-reason"]) == (503, "NO_READY_PREDICTOR")
        assert body["status"] == {
            "code": 503,
            "info": "no predictor with traffic is ready",
            "reason": "NO_READY_PREDICTOR",
            "status": "FAILURE",
        }
        async with _stub(gateway) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.Predict(pb.SeldonMessage(), metadata=METADATA)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        assert raised.value.details() == "no predictor with traffic is ready"
        assert not any(member.seen for member in upstreams.members)


async def test_gateway_strips_slipway_headers_and_writes_the_access_log(tmp_path):
    async with _running(tmp_path, {"stable": 0}, replicas={"stable": 1}) as (gateway, upstreams, client):
        headers = {"X-Slipway-Model": "forged", "x-envoy-max-retries": "9", "x-request-id": "mine"}
        async with client.post(PREDICTIONS, data=b"{}", headers=headers) as reply:
            assert reply.headers["x-request-id"] == "mine"
        path, size, seen = upstreams.members[0].seen[0]
        logs = [gateway.layout.access_log(index) for index in (0, 1)]
        lines = await eventually(lambda: [line for log in logs for line in log.read_text().splitlines()])
    assert (path, size) == ("/api/v1.0/predictions", 2)
    assert not [name for name in seen if name.startswith(("x-slipway-", "x-envoy-max"))]
    entry = json.loads(lines[0])
    assert entry["path"] == PREDICTIONS
    assert entry["cluster"] == "outbound|8000|stable|yolo-stable.default.svc.cluster.local"
    assert (entry["status"], entry["model"], entry["predictor"]) == (200, "yolo/3 sha256:0", "stable")
    assert entry["request_id"] == "mine"


async def test_gateway_passes_a_trace_s_context_on_and_makes_none(tmp_path):
    context = {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "vendor=1",
        "baggage": "who=me", "b3": "0af7651916cd43dd-b7ad6b7169203331-1", "x-b3-traceid": "0af7651916cd43dd",
        "x-b3-spanid": "b7ad6b7169203331", "x-b3-sampled": "1", "uber-trace-id": "1:2:0:1",
    }  # fmt: skip
    async with _running(tmp_path, {"stable": 0}, replicas={"stable": 1}) as (gateway, upstreams, client):
        for headers in (context, {}):
            async with client.post(PREDICTIONS, data=b"{}", headers=headers) as reply:
                assert reply.status == 200
        async with _stub(gateway) as stub:
            await stub.Predict(pb.SeldonMessage(), metadata=(*METADATA, *context.items()))
            await stub.Predict(pb.SeldonMessage(), metadata=METADATA)
        upstream = upstreams.members[0]
    received = [*(headers for _, _, headers in upstream.seen), *upstream.grpc_metadata]
    told = [{name: headers[name] for name in context if name in headers} for headers in received]
    assert told == [context, {}, context, {}]


async def test_access_log_is_rotated_at_its_bound(tmp_path, monkeypatch):
    monkeypatch.setattr("slipway.onebox.mesh.write.ACCESS_LOG_BYTES", 10)
    async with _running(tmp_path, {"stable": 0}, replicas={"stable": 1}) as (gateway, _, client):
        logs = [gateway.layout.access_log(index) for index in (0, 1)]

        async def used():
            await _predictor(client)
            return [log for log in logs if log.stat().st_size > 10]

        log = (await eventually(used))[0]
        await gateway.publisher.rotate_access_logs()
        assert log.with_name(f"{log.name}.1").stat().st_size > 10
        await eventually(log.exists, what="the new access log")


async def test_service_address_reaches_its_endpoints(tmp_path):
    async with running_upstreams(stable=2) as upstreams:
        address = loopback_address()
        objects = world([], upstreams.predictors(), ports=upstreams.ports, cluster_ips={"stable": address})
        async with running_gateway(tmp_path, objects), aiohttp.ClientSession() as client:
            async with client.post(f"http://{address}:8000/predict", data=b"{}") as reply:
                assert reply.status == 200
            async with grpc.aio.insecure_channel(f"{address}:5001") as channel:
                assert (await pb_grpc.SeldonStub(channel).Predict(pb.SeldonMessage())).strData == "stable"


async def test_page_and_list_of_deployments_are_served(tmp_path):
    async with _running(tmp_path, {"stable": 0}, replicas={"stable": 1}) as (_, upstreams, client):
        async with client.get("/") as reply:
            page = await reply.text()
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert 2000 < len(page) < 60_000
        assert "http://" not in page
        assert "https://" not in page
        async with client.get("/slipway/deployments.json") as reply:
            listing = await reply.json()
        assert listing == {"deployments": [{"namespace": "default", "name": "yolo", "ready": True}]}
        async with client.get("/nothing/here") as reply:
            assert (reply.status, reply.headers["x-slipway-reason"]) == (404, "ROUTE_NOT_FOUND")
    assert not upstreams.members[0].seen


async def test_resources_that_envoy_refuses_are_reported_and_what_it_had_stays(tmp_path, caplog):
    async with _running(tmp_path, {"stable": 0}, replicas={"stable": 1}) as (gateway, upstreams, client):
        wanted = render(translate(_objects(upstreams, {"stable": 0}), gateway.site), gateway.layout)
        broken = {**wanted.routes, "virtual_hosts": [{"name": "no domains"}]}
        assert await gateway.publisher.publish(replace(wanted, routes=broken)) == {ROUTES_STAT}
        assert "has not taken http.gateway.rds.gateway" in caplog.text
        assert await _predictor(client) == (200, "stable")
        assert await gateway.publisher.missing() == {ROUTES_STAT}
        assert not await gateway.publisher.publish(wanted)
        assert not await gateway.publisher.missing()


async def test_address_that_another_program_holds_delays_one_publication_and_no_later_one(tmp_path):
    async with running_upstreams(stable=1, canary=1) as upstreams:
        address = loopback_address()

        def objects(weights, **ips):
            return world([virtual_service(weights)], upstreams.predictors(), ports=upstreams.ports, cluster_ips=ips)

        with socket.create_server((address, 8000)):
            async with (
                running_gateway(tmp_path, objects({"stable": 100, "canary": 0})) as gateway,
                aiohttp.ClientSession(base_url=gateway.url) as client,
            ):
                wanted = objects({"stable": 100, "canary": 0}, stable=address)
                resources = render(translate(wanted, gateway.site), gateway.layout)
                assert await gateway.publisher.publish(resources) == {LISTENERS_STAT}
                assert await gateway.publish(objects({"stable": 0, "canary": 100}, stable=address))
                assert await _predictor(client) == (200, "canary")
                async with grpc.aio.insecure_channel(f"{address}:5001") as channel:  # the Service's other port
                    assert (await pb_grpc.SeldonStub(channel).Predict(pb.SeldonMessage())).strData == "stable"
