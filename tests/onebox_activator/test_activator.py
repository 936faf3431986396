"""Requests for a predictor at rest, through real Envoys: held, answered by the Pod that they woke, or refused in words."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import prediction_pb2 as pb
from slipway.kube.kinds import HORIZONTAL_POD_AUTOSCALER, SCALED_OBJECT, SERVICE
from slipway.onebox.activator import held, hold
from tests.onebox_activator.town import METADATA, Reply, Town, running_town
from tests.waiting import eventually

pytestmark = pytest.mark.e2e
CRASHING = {
    "phase": "Running",
    "containerStatuses": [
        {
            "name": "main",
            "image": "test/app:1",
            "imageID": "",
            "ready": False,
            "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "no weights"}},
        }
    ],
}


async def test_requests_at_once_are_one_wake_and_all_are_answered(tmp_path: Path) -> None:
    async with running_town(tmp_path) as town:
        generation = await town.generation()
        sizes = [2, 100_000, MAX_BODY_BYTES] * 5
        posts = [asyncio.create_task(town.post(b"x" * size)) for size in sizes]
        large = pb.SeldonMessage(binData=b"x" * (MAX_BODY_BYTES - 64))
        calls = [town.stub.Predict(message, metadata=METADATA) for message in [pb.SeldonMessage(), large] * 3]
        await town.until_held(len(posts) + len(calls))
        await town.until_woken()
        assert not town.upstreams.of("stable")[0].seen
        await town.set_ready("stable", is_ready=True)
        replies = await asyncio.gather(*posts)
        messages = [await call for call in calls]
        woken = await town.generation()
        await eventually(lambda: _event_is_there(town), what="the event")
        seen, grpc_calls = town.upstreams.of("stable")[0].seen, town.upstreams.of("stable")[0].grpc_calls
    assert [status for status, _, _ in replies] == [200] * len(sizes)
    assert [body["jsonData"]["bytes"] for _, body, _ in replies] == sizes
    assert [message.strData for message in messages] == ["stable"] * 6
    assert woken == generation + 1
    assert len(seen) == len(sizes)
    assert len(grpc_calls) == 6
    assert not any("x-slipway-wakes" in fields for _, _, fields in seen)
    assert not town.hold.held.counts
    assert not town.hold.held.held_bytes


async def _event_is_there(town: Town) -> bool:
    return (await town.reasons()).count("KEDAScaleTargetActivated") == 1


async def test_warm_predictor_is_reached_without_the_activator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(hold.Hold, "endpoint", never)
    async with running_town(tmp_path, replicas=1) as town:
        assert (await town.post())[0] == 200
        assert (await town.stub.Predict(pb.SeldonMessage(), metadata=METADATA)).strData == "stable"


async def test_over_the_bound_is_refused_once_with_when_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MAX_HELD_EACH", 2)
    async with running_town(tmp_path) as town:
        waiting = [asyncio.create_task(town.post()) for _ in range(2)]
        await town.until_held(2)
        status, body, fields = await town.post()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await town.stub.Predict(pb.SeldonMessage(), metadata=METADATA)
        retries = await town.gateway.counter("upstream_rq_retry")
        await town.set_ready("stable", is_ready=True)
        answered = await asyncio.gather(*waiting)
    assert status == 503
    assert body["status"]["reason"] == "TOO_MANY_HELD"
    assert fields["x-slipway-reason"] == "TOO_MANY_HELD"
    assert int(fields["Retry-After"]) > 0
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "2 requests wait" in (refused.value.details() or "")
    assert retries == 0
    assert [status for status, _, _ in answered] == [200, 200]


async def test_pod_that_does_not_come_up_is_named_with_its_own_reason(tmp_path: Path) -> None:
    async with running_town(tmp_path) as town:
        first = asyncio.create_task(town.post())
        call = town.stub.Predict(pb.SeldonMessage(), metadata=METADATA)
        await town.until_held(2)
        await town.set_pod("stable", CRASHING)
        status, body, fields = await first
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        retries = await town.gateway.counter("upstream_rq_retry")
    assert (status, fields["x-slipway-reason"]) == (503, "PREDICTOR_NOT_AWAKE")
    assert "CrashLoopBackOff: main: no weights" in body["status"]["info"]
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "CrashLoopBackOff: main: no weights" in (refused.value.details() or "")
    assert retries == 0


async def test_refusal_comes_before_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "HOLD_S", 0.3)
    async with running_town(tmp_path) as town:
        status, body, _ = await town.post()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await town.stub.Predict(pb.SeldonMessage(), metadata=METADATA, timeout=20)
    assert status == 503
    assert "did not start within 0.3 s: its Pod is not ready yet" in body["status"]["info"]
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_client_that_leaves_is_not_waited_for(tmp_path: Path) -> None:
    async with running_town(tmp_path) as town:
        gone = asyncio.create_task(town.post())
        call = town.stub.Predict(pb.SeldonMessage(), metadata=METADATA)
        await town.until_held(2)
        gone.cancel()
        call.cancel()
        await town.until_held(0)
        await town.set_ready("stable", is_ready=True)
        await eventually(lambda: _answers(town), what="an answer")
        assert len(town.upstreams.of("stable")[0].seen) == 1


async def _answers(town: Town) -> bool:
    status, _, _ = await town.post()
    return status == 200


async def test_rests_after_its_cooldown_and_wakes_again(tmp_path: Path) -> None:
    async with running_town(tmp_path, sleepers={"stable": 1}, replicas=1) as town:
        assert (await town.post())[0] == 200

        async def rests() -> bool:
            return await town.replicas() == 0

        await eventually(rests, timeout_s=10, what="at rest")
        await town.set_ready("stable", is_ready=False)  # what the runner does with the Pod that is stopped
        late: list[asyncio.Task[Reply]] = []

        async def woken() -> bool:
            late.append(asyncio.create_task(town.post()))  # the first ones may still meet the old Pod, which drains
            return await town.replicas() == 1

        await eventually(woken, what="woken")
        await town.set_ready("stable", is_ready=True)
        replies = await asyncio.gather(*late)
    assert {status for status, _, _ in replies} == {200}


async def test_canary_with_one_predictor_at_rest(tmp_path: Path) -> None:
    weights = {"stable": 50, "canary": 50}
    async with running_town(tmp_path, weights, sleepers={"canary": 3600}) as town:
        posts = [asyncio.create_task(town.post()) for _ in range(30)]
        await town.until_woken("yolo-canary")
        await town.set_ready("canary", is_ready=True)
        replies = await asyncio.gather(*posts)
    assert {status for status, _, _ in replies} == {200}
    assert {body["jsonData"]["predictor"] for _, body, _ in replies} == {"stable", "canary"}


async def test_predictor_at_0_percent_sleeps_on(tmp_path: Path) -> None:
    weights = {"stable": 100, "canary": 0}
    async with running_town(tmp_path, weights, sleepers={"canary": 3600}) as town:
        replies = [await town.post() for _ in range(20)]
        assert await town.replicas("yolo-canary") == 0
    assert {body["jsonData"]["predictor"] for _, body, _ in replies} == {"stable"}


async def test_mirrored_request_wakes_a_shadow_and_waits_for_nobody(tmp_path: Path) -> None:
    async with running_town(tmp_path, sleepers={"dark": 3600}, shadow="dark") as town:
        status, body, _ = await town.post(b"x" * 1000)
        assert (status, body["jsonData"]["predictor"]) == (200, "stable")
        await town.until_woken("yolo-dark")
        await town.set_ready("dark", is_ready=True)
        await eventually(lambda: [size for _, size, _ in town.upstreams.of("dark")[0].seen] == [1000], what="mirrored")


async def test_request_of_another_pod_wakes_too(tmp_path: Path) -> None:
    """To the Service's own address, as an executor asks a node in a Pod of its own."""
    async with running_town(tmp_path) as town:
        service = await town.kube.get(SERVICE, "yolo-stable", namespace="default")
        url = f"http://{service['spec']['clusterIP']}:8000/predict"
        asked = asyncio.create_task(town.client.post(url, data=b"{}"))
        await town.until_woken()
        await town.set_ready("stable", is_ready=True)
        async with await asked as reply:
            assert reply.status == 200
    assert town.upstreams.of("stable")[0].paths == ["/predict"]


async def test_scaled_object_that_nobody_can_read_does_not_stop_the_others(tmp_path: Path) -> None:
    async with running_town(tmp_path, {"stable": 50, "canary": 50}, sleepers={"canary": 3600}, replicas=1) as town:
        triggers = [{"type": "cpu", "metadata": "80"}]
        spec = {"scaleTargetRef": {"name": "yolo-stable"}, "minReplicaCount": "few", "triggers": triggers}
        await town.put(SCALED_OBJECT, {"metadata": {"name": "broken"}, "spec": spec})

        async def told() -> bool:
            return "ScaledObjectCheckFailed" in await town.reasons()

        async def scaled() -> bool:
            found = await town.kube.list(HORIZONTAL_POD_AUTOSCALER, namespace="default")
            return [item["metadata"]["name"] for item in found.items] == ["keda-hpa-yolo-canary"]

        await eventually(told, what="the event")
        await eventually(scaled, what="the other's autoscaler")
