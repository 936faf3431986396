"""Sticky splits, groups of callers, limits and faults, as the controller writes them and real Envoys carry them out."""

from __future__ import annotations

import asyncio
import io
import socket
from collections import Counter
from contextlib import asynccontextmanager

import aiohttp
import grpc
import pytest

from slipway.cli.split_shares import STATS, requests_by_predictor
from slipway.contract.headers import ANSWERED_BY
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as pb_grpc
from slipway.contract.sdep import SeldonDeployment
from slipway.controller.facts import Facts
from slipway.controller.settings import Settings
from slipway.controller.traffic import known_buckets, traffic
from slipway.onebox.mesh.limits import MAX_COPIES, RETRIES
from slipway.onebox.mesh.replies import LIMIT_REACHED
from tests.contract.manifests import predictor, sdep
from tests.onebox_mesh.envoys import running_gateway
from tests.onebox_mesh.upstreams import Upstreams, loopback_address, running_upstreams
from tests.onebox_mesh.world import GATEWAY, destination, item, virtual_service, world

pytestmark = pytest.mark.e2e
PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"
METADATA = (("seldon", "yolo"), ("namespace", "default"))
SETTINGS = Settings(has_own_mesh=True)
USERS = [f"user-{number}" for number in range(300)]
AT_ONCE = 16


class Declared:
    """A SeldonDeployment `yolo` whose VirtualService remembers, as the one in the API does."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._buckets = ""

    def objects(self, shares: dict[str, int], *, groups=None, ready=lambda _: True, shadow="", **annotations: str):
        rows = [
            predictor(name, traffic=share, labels={"version": name}, annotations=(groups or {}).get(name, {}))
            for name, share in shares.items()
        ]
        if shadow:
            rows.append(predictor(shadow, shadow=True, traffic=100, labels={"version": shadow}))
        given = {f"slipway.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
        manifest = SeldonDeployment.from_json(
            sdep(*rows, name="yolo", metadata={"namespace": "default"}, annotations=given)
        )
        self.sdep = SETTINGS.defaulted(manifest)
        made = traffic(self.sdep, Facts(SETTINGS, buckets=self._buckets))
        self._buckets = known_buckets({(obj["kind"], obj["metadata"]["name"]): obj for obj in made}, manifest)
        virtual = [obj for obj in made if obj["kind"] == "VirtualService"]
        rules = [obj for obj in made if obj["kind"] == "DestinationRule"]
        return world(virtual, self._upstreams.predictors(ready), ports=self._upstreams.ports, rules=rules)


@asynccontextmanager
async def running(tmp_path, shares, **options):
    async with running_upstreams(**dict.fromkeys(shares, 1)) as upstreams:
        declared = Declared(upstreams)
        async with (
            running_gateway(tmp_path, declared.objects(shares, **options)) as gateway,
            aiohttp.ClientSession(base_url=gateway.url) as client,
        ):
            yield gateway, declared, client


async def ask(client, *, path=PREDICTIONS, **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.post(path, data=io.BytesIO(b"{}"), headers=named) as reply:
        await reply.read()
        return reply.status, reply.headers.get("x-slipway-predictor"), reply.headers.get("x-slipway-reason")


async def whose(client, **more) -> dict[str, str]:
    """The predictor that each user meets."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(user: str):
        async with limit:
            status, name, _ = await ask(client, x_user=user, **more)
            assert status == 200
            return name

    return dict(zip(USERS, await asyncio.gather(*map(one, USERS)), strict=True))


async def test_sticky_users_stay_and_a_raised_predictor_loses_nobody(tmp_path):
    splits = [(60, 30, 10), (45, 45, 10), (30, 45, 25), (60, 30, 10), (0, 50, 50)]
    names = ("stable", "canary", "third")
    async with running(tmp_path, dict(zip(names, splits[0], strict=True)), sticky="header:x-user") as setup:
        gateway, declared, client = setup
        before, old = await whose(client), splits[0]
        assert before == await whose(client)
        for split in splits[1:]:
            shares = dict(zip(names, split, strict=True))
            assert await gateway.publish(declared.objects(shares, sticky="header:x-user"))
            after = await whose(client)
            moved = [(before[user], after[user]) for user in USERS if before[user] != after[user]]
            grown = {name for name, was, now in zip(names, old, split, strict=True) if now > was}
            kept = {name for name, was, now in zip(names, old, split, strict=True) if now >= was}
            assert not [was for was, _ in moved if was in kept]
            assert {now for _, now in moved} <= grown
            # Of 300 users each moves with p: the mean of all moves is 300 p, at most 9 standard deviations more.
            share = sum(max(was - now, 0) for was, now in zip(old, split, strict=True)) / 100
            assert 0 < len(moved) < 300 * share + 9 * (300 * share * (1 - share)) ** 0.5
            before, old = after, split
        unready = declared.objects(
            dict(zip(names, old, strict=True)), sticky="header:x-user", ready=lambda one: one.predictor != "third"
        )
        assert await gateway.publish(unready)
        meanwhile = await whose(client)
        assert set(meanwhile.values()) == {"canary"}
        assert all(meanwhile[user] == name for user, name in before.items() if name == "canary")
        assert await gateway.publish(declared.objects(dict(zip(names, old, strict=True)), sticky="header:x-user"))
        assert await whose(client) == before
        async with grpc.aio.insecure_channel(gateway.url.removeprefix("http://")) as channel:
            stub = pb_grpc.SeldonStub(channel)
            for user in USERS[:20]:
                reply = await stub.Predict(pb.SeldonMessage(), metadata=(*METADATA, ("x-user", user)))
                assert reply.strData == before[user]


async def test_sticky_by_cookie_and_by_chance_without_one(tmp_path):
    async with running(tmp_path, {"stable": 50, "canary": 50}, sticky="cookie:uid") as (_, _, client):
        for number in range(10):
            cookie = f"lang=en; uid={number}"
            assert len({await ask(client, cookie=cookie) for _ in range(5)}) == 1
        assert len({await ask(client, cookie=f"uid={number}") for number in range(40)}) == 2
        assert len({await ask(client) for _ in range(40)}) == 2


async def test_group_meets_its_predictor_only_and_is_told_when_it_is_not_ready(tmp_path):
    groups = {"canary": {"slipway.dev/match": "cookie:group=b"}, "third": {"slipway.dev/match": "header:x-group=c"}}
    shares = {"stable": 100, "canary": 0, "third": 0}
    async with running(tmp_path, shares, groups=groups) as (gateway, declared, client):
        assert {await ask(client, cookie="a=1; group=b") for _ in range(10)} == {(200, "canary", None)}
        assert {await ask(client, x_group="c") for _ in range(10)} == {(200, "third", None)}
        for others in ({}, {"cookie": "group=c"}, {"x_group": "b"}):
            assert await ask(client, **others) == (200, "stable", None)
        async with grpc.aio.insecure_channel(gateway.url.removeprefix("http://")) as channel:
            stub = pb_grpc.SeldonStub(channel)
            reply = await stub.Predict(pb.SeldonMessage(), metadata=(*METADATA, ("x-group", "c")))
        assert reply.strData == "third"
        unready = declared.objects(shares, groups=groups, ready=lambda one: one.predictor != "third")
        assert await gateway.publish(unready)
        assert await ask(client, x_group="c") == (503, None, "NO_READY_PREDICTOR")
        assert await ask(client) == (200, "stable", None)


async def test_rate_limit_is_429_with_the_component_s_json_before_the_body_is_read(tmp_path):
    async with running(tmp_path, {"stable": 100}, rate_limit="10/h") as (gateway, _, client):
        found = Counter([await ask(client, connection="close") for _ in range(40)])
        assert found.keys() == {(200, "stable", None), (429, None, "RATE_LIMITED")}
        assert 5 <= found[(200, "stable", None)] <= 10  # of each Envoy 5, and connections are dealt out by chance
        async with client.post(PREDICTIONS, data=b"{}", headers={"connection": "close"}) as reply:
            body = await reply.json()
        assert body["status"]["reason"] == "RATE_LIMITED"
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.site.port)
        writer.write(f"POST {PREDICTIONS} HTTP/1.1\r\nhost: x\r\ncontent-length: 8000000\r\n\r\n".encode())
        status = await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        assert b" 429 " in status
        async with grpc.aio.insecure_channel(gateway.url.removeprefix("http://")) as channel:
            calls = [pb_grpc.SeldonStub(channel).Predict(pb.SeldonMessage(), metadata=METADATA) for _ in range(11)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
        assert {(error.code(), error.details()) for error in refused} == {
            (grpc.StatusCode.RESOURCE_EXHAUSTED, LIMIT_REACHED)
        }


async def test_faults_are_made_and_named(tmp_path):
    def route(path, **fault):
        return {
            "match": [{"uri": {"prefix": path}}],
            "route": [{"destination": destination("stable", 8000)}],
            "fault": fault,
        }

    routes = [
        route("/abort/", abort={"httpStatus": 418}),
        route("/slow/", delay={"fixedDelay": "0.2s"}),
        route("/never/", abort={"httpStatus": 500, "percentage": {"value": 0}}),
    ]
    virtual = item("VirtualService", "faulty", {"hosts": ["*"], "gateways": [GATEWAY], "http": routes})
    async with running_upstreams(stable=1) as upstreams:
        objects = world([virtual], upstreams.predictors(), ports=upstreams.ports)
        async with running_gateway(tmp_path, objects) as gateway, aiohttp.ClientSession(gateway.url) as client:
            assert await ask(client, path="/abort/x") == (418, None, "FAULT_INJECTED")
            async with client.post("/abort/x", data=b"{}") as reply:
                assert (await reply.json())["status"]["code"] == 418
            assert (await ask(client, path="/slow/x"))[0] == 200
            assert await gateway.counter("fault.delays_injected") == 1
            assert {(await ask(client, path="/never/x"))[0] for _ in range(10)} == {200}
            assert len(upstreams.members[0].seen) == 11


async def test_hanging_shadow_holds_nobody_up_and_a_bounded_number_of_copies(tmp_path):
    """It takes connections, as a frozen process does, and never reads."""
    large, rounds = b"x" * 2**20, 4
    async with running_upstreams(stable=1) as upstreams:
        frozen = loopback_address()
        predictors = {**upstreams.predictors(), "dark": {frozen: True}}
        with socket.create_server((frozen, upstreams.ports["http"]), backlog=1024):
            objects = world([virtual_service({"stable": 0}, shadow=("dark", None))], predictors, ports=upstreams.ports)
            async with running_gateway(tmp_path, objects) as gateway, aiohttp.ClientSession(gateway.url) as client:

                async def one():
                    async with client.post(PREDICTIONS, data=io.BytesIO(large)) as reply:
                        return reply.status

                for _ in range(rounds):
                    assert set(await asyncio.gather(*(one() for _ in range(AT_ONCE * 4)))) == {200}
                told = [await admin.stats(r"\|8000\|dark\|.*\.upstream_rq_active$") or {} for admin in gateway.admins]
    copies = [count for one in told for count in one.values()]
    assert all(0 < count <= MAX_COPIES for count in copies), copies
    assert len(copies) == len(gateway.admins)


async def test_pod_that_fails_in_a_row_gets_nothing_more_and_a_slow_one_is_504(tmp_path):
    async with running_upstreams(stable=2) as upstreams:
        declared = Declared(upstreams)
        objects = declared.objects({"stable": 100}, outlier_errors="3", timeout="500ms")
        async with running_gateway(tmp_path, objects) as gateway, aiohttp.ClientSession(gateway.url) as client:
            bad, good = upstreams.members
            bad.behave = "503"
            assert {await ask(client, connection="close") for _ in range(60)} == {(200, "stable", None)}
            assert 0 < len(bad.seen) <= 2 * 3  # three in a row at each Envoy
            good.behave = "stall"
            assert await ask(client) == (504, None, "UPSTREAM_TIMEOUT")
            good.release.set()


async def test_feedback_is_asked_once_over_rest_and_grpc(tmp_path):
    async with running_upstreams(stable=1) as upstreams:
        (stable,) = upstreams.members
        stable.behave = "503"
        objects = Declared(upstreams).objects({"stable": 100})
        async with (
            running_gateway(tmp_path, objects) as gateway,
            aiohttp.ClientSession(base_url=gateway.url) as client,
            grpc.aio.insecure_channel(gateway.url.removeprefix("http://")) as channel,
        ):
            for version in ("v1.0", "v0.1"):
                path = PREDICTIONS.replace("v1.0/predictions", f"{version}/feedback")
                assert [(await ask(client, path=path + query))[0] for query in ("", "?x=1")] == [503, 503]
            assert stable.paths == [*["/api/v1.0/feedback"] * 2, *["/api/v0.1/feedback"] * 2]
            assert (await ask(client))[0] == 503
            assert stable.paths.count("/api/v1.0/predictions") == 1 + RETRIES
            stub = pb_grpc.SeldonStub(channel)
            for call, times in ((stub.SendFeedback, 1), (stub.Predict, 1 + RETRIES)):
                message = pb.Feedback() if times == 1 else pb.SeldonMessage()
                before = len(stable.grpc_calls)
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await call(message, metadata=METADATA)
                assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
                assert len(stable.grpc_calls) - before == times


FEEDBACK = PREDICTIONS.replace("predictions", "feedback")
REWARDS = 60


async def test_feedback_comes_to_whoever_answered_and_nothing_else_does(tmp_path):
    """Of 60 at 50 % none goes wrong, while unnamed the split draws again; of the others none comes to a named one at 0 %."""
    async with running_upstreams(stable=1, canary=1, dark=1) as upstreams:
        declared = Declared(upstreams)
        objects = declared.objects({"stable": 50, "canary": 50}, shadow="dark")
        async with (
            running_gateway(tmp_path, objects) as gateway,
            aiohttp.ClientSession(base_url=gateway.url) as client,
            grpc.aio.insecure_channel(gateway.url.removeprefix("http://")) as channel,
        ):
            stub, answered = pb_grpc.SeldonStub(channel), Counter()
            for number in range(REWARDS):
                _, name, _ = await ask(client)
                answered[name] += 1
                if number % 2:
                    assert await ask(client, path=FEEDBACK, slipway_predictor=name) == (200, name, None)
                else:
                    reply = await stub.SendFeedback(pb.Feedback(), metadata=(*METADATA, (ANSWERED_BY, name)))
                    assert reply.strData == name
            assert min(answered.values()) >= 5  # of 60 at 50 %: below it once in 10^12 runs
            assert "/api/v1.0/feedback" not in upstreams.of("dark")[0].paths
            assert "SendFeedback" not in upstreams.of("dark")[0].grpc_calls
            assert len({await ask(client, path=FEEDBACK) for _ in range(40)}) == 2
            assert len({await ask(client, path=FEEDBACK, slipway_predictor="dark") for _ in range(40)}) == 2
            counted = [requests_by_predictor(declared.sdep, await admin.stats(STATS)) for admin in gateway.admins]
            assert sum(one["stable"] + one["canary"] for one in counted) == REWARDS + 80, "what the split dealt out"
            assert await gateway.publish(declared.objects({"stable": 100, "canary": 0}, shadow="dark"))
            for name in ("canary", "dark"):
                assert {await ask(client, slipway_predictor=name) for _ in range(20)} == {(200, "stable", None)}
            assert await ask(client, path=FEEDBACK, slipway_predictor="canary") == (200, "canary", None)
            unready = declared.objects({"stable": 50, "canary": 50}, ready=lambda one: one.predictor != "canary")
            assert await gateway.publish(unready)
            assert await ask(client, path=FEEDBACK, slipway_predictor="canary") == (503, None, "NO_READY_PREDICTOR")
