"""What is asked and answered over both wires, against real little servers."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from slipway.client import (
    AsyncClient,
    DeadlineExceeded,
    Failed,
    InvalidAddress,
    InvalidMessage,
    InvalidPhoto,
    Refused,
    UnexpectedReply,
    Unreachable,
)
from slipway.client.settings import MAX_REPLY_BYTES
from slipway.contract.protos import prediction_pb2 as pb
from tests.client.servers import BODY, MESSAGE, PHOTO, Deployment, deployment
from tests.executor.nodes import Refusal, Reply
from tests.waiting import eventually

JSON = {"Content-Type": "application/json"}


def error(yolo: Deployment, status: int, reason: str, info: str, **headers: str) -> Any:
    """An error as each wire has it."""
    if yolo.transport == "rest":
        body = json.dumps({"status": {"status": 1, "info": info, "code": -1, "reason": reason}}).encode()
        return Reply(body, status, {**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}})
    codes = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 503: "UNAVAILABLE", 500: "INTERNAL", 429: "RESOURCE_EXHAUSTED"}
    named = {"x-slipway-reason": reason} if reason else {}
    trailing = {**named, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Refusal(grpc.StatusCode[codes[status]], info, *trailing.items())


async def test_detect_gives_typed_detections(yolo: Deployment) -> None:
    async with yolo.client() as client:
        found = await client.detect(PHOTO)
    assert (found[0].label, found[0].class_id, str(found.model)) == ("cat", 1, "pets/3")
    assert found.photo is not None
    assert (found.photo.width, found.photo.height) == (640, 480)
    assert 0 < found.reply.elapsed_ms < 5000


async def test_request_leads_to_the_deployment_with_token_and_headers(yolo: Deployment) -> None:
    async with yolo.client(token="secret", headers={"X-Team": "birds"}) as client:
        await client.detect(PHOTO)
    said = yolo.headers()
    assert (said["authorization"], said["x-team"]) == ("Bearer secret", "birds")
    if yolo.transport == "grpc":
        assert (said["seldon"], said["namespace"]) == ("yolo", "default")
        assert pb.SeldonMessage.FromString(yolo.sent()).binData == PHOTO
    else:
        assert yolo.node.seen[-1].path == "/seldon/default/yolo/api/v1.0/predictions"


async def test_answer_of_a_photo_at_fault_is_refused_once(yolo: Deployment) -> None:
    yolo.say(error(yolo, 400, "IMAGE_UNDECODABLE", "The JPEG is cut short.", seldon_puid="id-9"))
    async with yolo.client() as client:
        with pytest.raises(Refused) as refused:
            await client.detect(PHOTO)
    found = refused.value
    assert (found.code, found.reason, found.info) == (400, "IMAGE_UNDECODABLE", "The JPEG is cut short.")
    assert (found.request_id, yolo.calls) == ("id-9", 1)
    assert "IMAGE_UNDECODABLE: The JPEG is cut short." in str(found)


async def test_failing_deployment_is_not_asked_again_unless_it_says_so(yolo: Deployment) -> None:
    yolo.say(error(yolo, 503, "NO_READY_PREDICTOR", "no predictor with traffic is ready"))
    async with yolo.client() as client:
        with pytest.raises(Failed) as failed:
            await client.detect(PHOTO)
    assert (failed.value.code, failed.value.reason, yolo.calls) == (503, "NO_READY_PREDICTOR", 1)


async def test_busy_deployment_is_asked_again_after_its_pause(yolo: Deployment) -> None:
    yolo.say(error(yolo, 503, "OVERLOADED", "busy", retry_after="1"), MESSAGE)
    begun = time.monotonic()
    async with yolo.client() as client:
        assert (await client.detect(PHOTO))[0].label == "cat"
    assert (yolo.calls, time.monotonic() - begun >= 1) == (2, True)


async def test_attempts_end(yolo: Deployment) -> None:
    yolo.say(error(yolo, 503, "OVERLOADED", "busy", retry_after="0"))
    async with yolo.client(attempts=2) as client:
        with pytest.raises(Failed, match="OVERLOADED"):
            await client.detect(PHOTO)
    assert yolo.calls == 2


async def test_feedback_is_sent_once_whatever_happens(yolo: Deployment) -> None:
    yolo.say(error(yolo, 503, "OVERLOADED", "busy", retry_after="0"))
    async with yolo.client() as client:
        with pytest.raises(Failed):
            await client.feedback(1.0)
    assert yolo.calls == 1


async def test_feedback_goes_the_way_that_the_request_took(yolo: Deployment) -> None:
    async with yolo.client() as client:
        found = await client.detect(PHOTO)
        object.__setattr__(found.reply, "routing", {"router": 1})
        object.__setattr__(found.reply, "request_id", "id-3")
        truth = pb.SeldonMessage(strData="dog")
        await client.feedback(0.5, reply=found, request={"strData": "photo"}, truth=truth)
    if yolo.transport == "grpc":
        method, _, body = yolo.node.grpc_seen[-1]
        sent = pb.Feedback.FromString(body)
        assert method == "/seldon.protos.Seldon/SendFeedback"
        assert (dict(sent.response.meta.routing), sent.response.meta.puid, sent.reward) == ({"router": 1}, "id-3", 0.5)
        assert (sent.request.strData, sent.truth.strData) == ("photo", "dog")
    else:
        sent_json = json.loads(yolo.sent())
        assert yolo.node.seen[-1].path == "/seldon/default/yolo/api/v1.0/feedback"
        assert sent_json["response"]["meta"] == {"routing": {"router": 1}, "puid": "id-3"}
        assert sent_json["response"]["jsonData"] == BODY
        assert (sent_json["reward"], sent_json["request"], sent_json["truth"]) == (
            0.5,
            {"strData": "photo"},
            {"strData": "dog"},
        )


async def test_feedback_names_the_predictor_that_answered(yolo: Deployment) -> None:
    async with yolo.client(headers={"slipway-predictor": "stable"}) as client:
        found = await client.detect(PHOTO)
        for reply, name in ((replace(found.reply, predictor="canary"), "canary"), (None, "stable")):
            await client.feedback(1.0, reply=reply)
            assert yolo.headers()["slipway-predictor"] == name
    async with yolo.client() as client:
        for predictor in ("", "käfer", "a\r\nx: y"):
            await client.feedback(1.0, reply=replace(found.reply, predictor=predictor))
            assert "slipway-predictor" not in yolo.headers()


async def test_feedback_about_a_predictor_that_is_no_more_is_refused(yolo: Deployment) -> None:
    reason, info = "FEEDBACK_PREDICTOR_UNKNOWN", "this is 'stable'"
    async with yolo.client() as client:
        found = await client.detect(PHOTO)
        yolo.say(error(yolo, 404, reason, info))
        with pytest.raises(Refused, match=f"{reason}: {info}") as refused:
            await client.feedback(1.0, reply=found)
    assert (refused.value.code, refused.value.reason, yolo.calls) == (404, reason, 2)


async def test_predict_takes_both_forms_of_a_message(yolo: Deployment) -> None:
    yolo.say({"data": {"names": ["a"], "ndarray": [[1.5, "x"]]}, "meta": {"tags": {"t": 1}}})
    async with yolo.client() as client:
        for message in ({"strData": "hi"}, pb.SeldonMessage(strData="hi")):
            reply = await client.predict(message)
            assert reply.message["data"] == {"names": ["a"], "ndarray": [[1.5, "x"]]}
            assert reply.message["meta"]["tags"] == {"t": 1}


async def test_reply_that_is_no_detector_s_is_unexpected(yolo: Deployment) -> None:
    yolo.say({"strData": "hello"})
    async with yolo.client() as client:
        with pytest.raises(UnexpectedReply, match="strData"):
            await client.detect(PHOTO)


async def test_message_that_says_itself_that_it_failed_is_a_failure(yolo: Deployment) -> None:
    yolo.say({"status": {"code": 500, "info": "broken", "reason": "R", "status": "FAILURE"}})
    async with yolo.client() as client:
        with pytest.raises(Failed, match="R: broken"):
            await client.predict({"strData": "x"})


async def test_late_answer_ends_with_the_deadline(yolo: Deployment) -> None:
    never = asyncio.Event()

    async def wait() -> None:
        await never.wait()

    yolo.say(wait)
    begun = time.monotonic()
    async with yolo.client(timeout_s=0.4) as client:
        with pytest.raises(DeadlineExceeded):
            await client.detect(PHOTO)
    assert time.monotonic() - begun < 5
    never.set()


@pytest.mark.parametrize("transport", ["rest", "grpc"])
async def test_nobody_there_is_unreachable_soon(transport: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    begun = time.monotonic()
    async with AsyncClient(f"http://127.0.0.1:{port}", transport=transport, attempts=2) as client:
        with pytest.raises(Unreachable) as nobody:
            await client.detect(PHOTO)
    assert (nobody.value.was_sent, str(port) in str(nobody.value)) == (False, True)
    assert time.monotonic() - begun < 4


async def test_server_that_comes_up_meanwhile_is_reached(yolo: Deployment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    async with AsyncClient(url, transport=yolo.transport, attempts=10) as client:  # type: ignore[typeddict-item]
        asking = asyncio.create_task(client.detect(PHOTO))
        late = Deployment(yolo.transport)
        late.node.http_port = late.node.grpc_port = port
        await eventually(lambda: asking.done() or client._wire is not None)
        async with _only(late):
            assert (await asking)[0].label == "cat"


def _only(late: Deployment) -> Any:
    """The deployment on its one port: REST and gRPC cannot share it."""
    from contextlib import asynccontextmanager

    from tests.executor import nodes

    @asynccontextmanager
    async def served() -> AsyncIterator[None]:
        start = nodes._serve_grpc if late.transport == "grpc" else nodes._serve_rest
        stop = await start(late.node)
        try:
            yield
        finally:
            await stop()

    return served()


async def test_connection_that_breaks_after_sending_is_not_tried_again() -> None:
    seen = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncClient(f"http://127.0.0.1:{port}") as client:
            with pytest.raises(Unreachable) as broken:
                await client.detect(PHOTO)
    assert (broken.value.was_sent, seen) == (True, 1)


async def test_page_of_a_proxy_is_reported_as_it_is() -> None:
    async with deployment("rest") as yolo, yolo.client() as client:
        yolo.say(Reply(b"<html>bad gateway</html>", 502, {"Content-Type": "text/html"}))
        with pytest.raises(Failed, match="HTTP 502: <html>bad gateway"):
            await client.detect(PHOTO)
        yolo.say(Reply(b"<html>", 200, {"Content-Type": "text/html"}))
        with pytest.raises(UnexpectedReply, match="<html>"):
            await client.detect(PHOTO)
        yolo.say(Reply(b"[1]"))
        with pytest.raises(UnexpectedReply, match=r"\[1\]"):
            await client.detect(PHOTO)


async def test_redirect_is_not_followed_with_the_token() -> None:
    async with deployment("rest") as yolo, yolo.client(token="secret") as client:
        yolo.say(Reply(b"", 302, {"Location": f"{yolo.url}/elsewhere"}))
        with pytest.raises(Failed, match="HTTP 302"):
            await client.detect(PHOTO)
    assert yolo.calls == 1


async def test_endless_answer_is_cut_off() -> None:
    async with deployment("rest") as yolo, yolo.client() as client:
        yolo.say(Reply(b" " * (MAX_REPLY_BYTES + 1)))
        with pytest.raises(UnexpectedReply, match="larger than"):
            await client.detect(PHOTO)


async def test_route_of_ones_own_takes_photos_but_no_feedback() -> None:
    async with deployment("rest") as yolo:
        url = yolo.url.replace("/seldon/default/yolo", "/inference")
        async with AsyncClient(url, form="multipart") as client:
            assert (await client.detect(PHOTO))[0].label == "cat"
            assert yolo.node.seen[-1].path == "/inference"
            with pytest.raises(InvalidAddress, match="feedback needs"):
                await client.feedback(1.0)


@pytest.mark.parametrize(
    ("transport", "message"),
    [("rest", {"strData": object()}), ("grpc", {"strData": 7}), ("grpc", {"other": 1}), ("grpc", {})],
)
async def test_message_without_a_form_is_not_sent(transport: str, message: dict[str, Any]) -> None:
    async with deployment(transport) as yolo, yolo.client() as client:
        if message:
            with pytest.raises(InvalidMessage):
                await client.predict(message)
            assert yolo.calls == 0
        else:
            await client.predict(message)


async def test_many_photos_come_back_in_order_and_in_bounds(yolo: Deployment) -> None:
    under_way = most = 0

    async def slow() -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await eventually(lambda: under_way == 3 or yolo.calls >= 9)
        under_way -= 1
        return MESSAGE

    yolo.say(slow)
    async with yolo.client() as client:
        found = await client.detect_many((PHOTO for _ in range(11)), at_once=3)
    assert ([len(one) for one in found], most) == ([1] * 11, 3)


@pytest.mark.parametrize("one", ["photo.jpg", Path("photo.jpg"), PHOTO, np.zeros((2, 3, 3), np.uint8)])
async def test_one_photo_is_not_taken_for_many(one: Any) -> None:
    with pytest.raises(InvalidPhoto, match="detect_many takes several photos"):
        await AsyncClient("http://127.0.0.1:9").detect_many(one)


async def test_array_of_photos_is_many(yolo: Deployment) -> None:
    async with yolo.client() as client:
        assert len(await client.detect_many(np.zeros((3, 8, 8, 3), np.uint8))) == 3


async def test_first_error_of_many_ends_the_rest(yolo: Deployment) -> None:
    async with yolo.client() as client:
        with pytest.raises(InvalidPhoto, match="empty"):
            await client.detect_many([PHOTO, b"", *[PHOTO] * 50], at_once=1)
        assert yolo.calls == 1
        for at_once in (0, 65):
            with pytest.raises(ValueError, match=f"at_once={at_once}"):
                await client.detect_many([PHOTO], at_once=at_once)
        assert await client.detect_many([]) == []


@pytest.mark.parametrize("reward", [float("nan"), float("inf")])
async def test_reward_that_is_no_number_is_not_sent(reward: float) -> None:
    async with AsyncClient("http://127.0.0.1:9") as client:
        with pytest.raises(InvalidMessage, match=f"reward={reward}: a number that is finite"):
            await client.feedback(reward)


def test_route_of_ones_own_is_not_asked_over_grpc() -> None:
    with pytest.raises(InvalidAddress, match="http://h:80/inference leads to predictions over REST"):
        AsyncClient("http://h/inference", transport="grpc")
