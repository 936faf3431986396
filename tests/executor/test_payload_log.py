"""Payload logging with real nodes and a real receiver: the contract's behaviours 51 to 55, and what bounds it."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest

from slipway.contract.protos import inference_pb2 as v2
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import tensorflow_serving_pb2 as tf
from slipway.controller import ending
from slipway.executor import payload_log, payload_log_losses, payload_log_sender
from slipway.executor.errors import SettingError
from slipway.executor.limits import LOG_FLUSH_S
from slipway.executor.settings import parse_settings
from slipway.serving import tracing_queue
from slipway.serving.limits import DRAIN_S, GRACE_S
from tests.data import REPOSITORY
from tests.executor.executors import Executor, executor
from tests.executor.nodes import Node, Refusal, Reply, serving
from tests.executor.receivers import FEEDBACK, REQUEST, RESPONSE, Receiver, receiver
from tests.executor.test_process import run_to_the_end, started, write
from tests.ports import free_ports
from tests.waiting import eventually

BODY = b'{"data":{"ndarray":[[0]]}}'
ANSWER = b'{"data":{"ndarray":[[1]]}}'
FEEDBACKS = "/api/v1.0/feedback"
ROUTES = Reply(b'{"data":{"ndarray":[[0]]}}')


def logged(sink: Receiver, mode: str = "all") -> dict[str, Any]:
    return {"logger": {"mode": mode, "url": sink.url}}


async def metric(client: Executor, name: str) -> float:
    text = (await client.get("/prometheus")).body.decode()
    found = re.search(rf"^{re.escape(f'slipway_payload_log_{name}')} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def lost(client: Executor, reason: str) -> float:
    return await metric(client, f'dropped_total{{reason="{reason}"}}')


async def test_mode_request_is_one_event_with_its_attributes() -> None:
    node = Node("clf")
    async with receiver() as sink, serving(node), executor(node.graph("MODEL", **logged(sink, "request"))) as client:
        await client.post(BODY, headers={"Seldon-Puid": "mine"})
        (event,) = await sink.received(1)
    found = event.headers
    assert event.body == BODY
    assert found["Content-Type"] == "application/json"
    assert (event.kind, event.node, found["ce-requestid"]) == (REQUEST, "clf", "mine")
    assert found["ce-source"] == "http://:0/"
    assert (found["ce-inferenceservicename"], found["ce-namespace"], found["ce-endpoint"]) == ("dep", "ns", "main")
    assert (found["ce-protocol"], found["ce-specversion"]) == ("seldon", "1.0")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found["ce-time"])
    UUID(found["ce-id"])


async def test_mode_response_is_one_event_of_the_answer() -> None:
    node = Node("clf")
    async with receiver() as sink, serving(node), executor(node.graph("MODEL", **logged(sink, "response"))) as client:
        await client.post(BODY)
        (event,) = await sink.received(1)
    assert (event.kind, event.node, event.body) == (RESPONSE, "clf", ANSWER)


async def test_logger_without_a_url_uses_the_default_endpoint() -> None:
    node = Node("clf")
    async with receiver() as sink, serving(node):
        endpoint = {"REQUEST_LOGGER_DEFAULT_ENDPOINT": f"{sink.url}broker?in=1"}
        async with executor(node.graph("MODEL", logger={"mode": "request"}), environment=endpoint) as client:
            await client.post(BODY)
            (event,) = await sink.received(1)
    assert event.path == "/broker?in=1"


async def test_router_with_all_is_two_events_of_its_own_name() -> None:
    router, child = Node("router", rest=lambda _: ROUTES), Node("child")
    async with receiver() as sink, serving(router, child):
        graph = router.graph("ROUTER", child.graph("MODEL"), **logged(sink))
        async with executor(graph) as client:
            puid = (await client.post(BODY)).headers["Seldon-Puid"]
            await sink.received(2)
        events = {event.kind: event for event in sink.events}
    assert sink.kinds() == [("router", REQUEST), ("router", RESPONSE)]
    assert (events[REQUEST].body, events[RESPONSE].body) == (BODY, ANSWER)
    assert {event.headers["ce-requestid"] for event in sink.events} == {puid}
    assert len({event.headers["ce-id"] for event in sink.events}) == 2


async def test_model_with_children_is_two_pairs_and_its_leaf_one() -> None:
    first = Node("first", rest=lambda _: Reply(b'{"strData":"first"}'))
    second = Node("second", rest=lambda _: Reply(b'{"strData":"second"}'))
    async with receiver() as sink, serving(first, second):
        graph = first.graph("MODEL", second.graph("MODEL", **logged(sink)), **logged(sink))
        async with executor(graph) as client:
            await client.post(BODY)
            await sink.received(6)
    found = sorted((event.node, event.kind, event.body) for event in sink.events)
    assert found == sorted(
        [
            ("first", REQUEST, BODY),
            ("first", RESPONSE, b'{"strData":"first"}'),
            ("first", REQUEST, b'{"strData":"first"}'),
            ("first", RESPONSE, b'{"strData":"second"}'),
            ("second", REQUEST, b'{"strData":"first"}'),
            ("second", RESPONSE, b'{"strData":"second"}'),
        ]
    )


async def test_combiner_is_each_twice() -> None:
    left, right = Node("left"), Node("right")
    combiner = Node("both", rest=lambda _: Reply(b'{"strData":"both"}'))
    async with receiver() as sink, serving(left, right, combiner):
        graph = combiner.graph("COMBINER", left.graph("MODEL"), right.graph("MODEL"), **logged(sink))
        async with executor(graph) as client:
            await client.post(BODY)
            await sink.received(4)
    found = sorted((event.kind, event.body) for event in sink.events)
    assert found == [(REQUEST, BODY)] * 2 + [(RESPONSE, b'{"strData":"both"}')] * 2


@pytest.mark.parametrize("kind", ["TRANSFORMER", "OUTPUT_TRANSFORMER"])
async def test_transformer_without_children_is_one_pair(kind: str) -> None:
    node = Node("t")
    async with receiver() as sink, serving(node), executor(node.graph(kind, **logged(sink))) as client:
        await client.post(BODY)
        await sink.received(2)
    assert sink.kinds() == [("t", REQUEST), ("t", RESPONSE)]


async def test_output_transformer_with_a_child_is_two_pairs() -> None:
    outer = Node("outer", rest=lambda _: Reply(b'{"strData":"outer"}'))
    inner = Node("inner")
    async with (
        receiver() as sink,
        serving(outer, inner),
        executor(outer.graph("OUTPUT_TRANSFORMER", inner.graph("MODEL"), **logged(sink))) as client,
    ):
        await client.post(BODY)
        await sink.received(4)
    found = sorted((event.kind, event.body) for event in sink.events)
    assert found == [(REQUEST, BODY), (REQUEST, ANSWER), (RESPONSE, ANSWER), (RESPONSE, b'{"strData":"outer"}')]


async def test_built_in_nodes_are_logged_too() -> None:
    left, right = Node("left"), Node("right")
    async with receiver() as sink, serving(left, right):
        graph = {
            "name": "ab",
            "implementation": "RANDOM_ABTEST",
            "children": [left.graph("MODEL"), right.graph("MODEL")],
            **logged(sink),
        }
        async with executor(graph) as client:
            await client.post(BODY)
            await sink.received(2)
    assert sink.kinds() == [("ab", REQUEST), ("ab", RESPONSE)]


async def test_failed_call_has_its_request_only() -> None:
    node = Node("clf", rest=lambda _: Reply(b"no", status=500))
    async with receiver() as sink, serving(node), executor(node.graph("MODEL", **logged(sink))) as client:
        assert (await client.post(BODY)).status == 500
        (event,) = await sink.received(1)
    assert event.kind == REQUEST


@pytest.mark.parametrize(("mode", "count"), [("request", 0), ("response", 1), ("all", 1)])
async def test_feedback_is_logged_on_response_and_all(mode: str, count: int) -> None:
    node = Node("clf")
    feedback = b'{"request":{"strData":"a"},"reward":1.0}'
    async with receiver() as sink, serving(node):
        async with executor(node.graph("MODEL", **logged(sink, mode))) as client:
            await client.post(feedback, path=FEEDBACKS)
            message = pb.Feedback(request=pb.SeldonMessage(strData="a"), reward=1.0)
            await client.call(message, "/seldon.protos.Seldon/SendFeedback")
        events = await sink.received(2 * count)  # those that were under way are flushed at the end
    assert [event.kind for event in events] == [FEEDBACK] * 2 * count
    assert all(json.loads(event.body) == json.loads(feedback) for event in events)


@pytest.mark.parametrize("protocol", ["v2", "tensorflow"])
async def test_feedback_of_other_protocols_is_logged_and_given_back(protocol: str) -> None:
    node = Node("clf")
    async with (
        receiver() as sink,
        serving(node),
        executor(node.graph("MODEL", **logged(sink)), flags=["--protocol", protocol]) as client,
    ):
        assert (await client.post(b'{"any":1}', path=FEEDBACKS)).body == b'{"any":1}'
        await client.post(b"{}", path=FEEDBACKS, headers={"Seldon-Skip-Logging": "1"})
        (event,) = await sink.received(1)
    assert (event.kind, event.body, event.headers["ce-protocol"]) == (FEEDBACK, b'{"any":1}', protocol)


async def test_skip_logging_suppresses_the_events_of_its_request_over_both_wires() -> None:
    node = Node("clf")
    async with receiver() as sink, serving(node):
        async with executor(node.graph("MODEL", **logged(sink, "request"))) as client:
            await client.post(BODY, headers={"Seldon-Skip-Logging": "TRUE"})
            await client.call(pb.SeldonMessage(strData="a"), metadata=[("seldon-skip-logging", "on")])
            await client.post(b'{"strData":"rest"}', headers={"Seldon-Skip-Logging": "no"})
            await client.call(pb.SeldonMessage(strData="grpc"), metadata=[("seldon-skip-logging", "0")])
        events = await sink.received(2)
    assert sorted(event.body for event in events) == [b'{"strData":"grpc"}', b'{"strData":"rest"}']


async def test_protobuf_between_our_own_nodes_is_logged_as_json() -> None:
    message = pb.SeldonMessage(binData=b"\0\1\2")
    wire = {"Content-Type": "application/x-protobuf", "x-slipway-wire": "protobuf"}
    first = Node("first", rest=lambda _: Reply(message.SerializeToString(), headers=wire))
    second = Node("second")
    first.metadata.headers.update(wire)
    second.metadata.headers.update({"x-slipway-wire": "protobuf"})
    async with receiver() as sink, serving(first, second):
        graph = first.graph("MODEL", second.graph("MODEL", **logged(sink, "request")))
        async with executor(graph) as client:
            await client.post(BODY)
            (event,) = await sink.received(1)
    assert second.calls()[0].headers["Content-Type"] == "application/x-protobuf"
    assert (event.headers["Content-Type"], event.body) == ("application/json", b'{"binData":"AAEC"}')


async def test_compressed_answer_is_logged_inflated() -> None:
    answer = Reply(gzip.compress(ANSWER), headers={"Content-Type": "application/json", "Content-Encoding": "gzip"})
    node = Node("clf", rest=lambda _: answer)
    async with (
        receiver() as sink,
        serving(node),
        executor(node.graph("MODEL", **logged(sink, "response"))) as client,
    ):
        await client.post(BODY, headers={"Accept-Encoding": "gzip"})
        (event,) = await sink.received(1)
    assert event.body == ANSWER
    assert "Content-Encoding" not in event.headers


async def test_photo_is_logged_as_it_came() -> None:
    node, photo = Node("clf"), bytes(range(256)) * 4096
    async with (
        receiver() as sink,
        serving(node),
        executor(node.graph("MODEL", **logged(sink, "request"))) as client,
    ):
        await client.post(photo, headers={"Content-Type": "image/jpeg"})
        (event,) = await sink.received(1)
    assert (event.headers["Content-Type"], event.body) == ("image/jpeg", photo)


def tensor(name: str, key: str) -> bytes:
    return json.dumps({key: [{"name": name, "datatype": "INT32", "shape": [1], "data": [7]}]}).encode()


async def test_v2_over_rest_logs_requests_as_requests() -> None:
    first, second = (Node(name, rest=lambda _: Reply(tensor("x", "outputs"))) for name in ("first", "second"))
    async with receiver() as sink, serving(first, second):
        graph = first.graph("MODEL", second.graph("MODEL", **logged(sink)))
        async with executor(graph, flags=["--protocol", "v2"]) as client:
            await client.post(tensor("x", "inputs"), path="/v2/models/infer")
            await sink.received(2)
    events = {event.kind: json.loads(event.body) for event in sink.events}
    assert events == {REQUEST: json.loads(tensor("x", "inputs")), RESPONSE: json.loads(tensor("x", "outputs"))}
    assert {event.headers["ce-protocol"] for event in sink.events} == {"v2"}


async def test_v2_with_binary_tensors_says_where_its_json_ends() -> None:
    text = b'{"inputs":[{"name":"x","datatype":"INT32","shape":[1],"parameters":{"binary_data_size":4}}]}'
    body = text + b"\7\0\0\0"
    node = Node("clf")
    async with (
        receiver() as sink,
        serving(node),
        executor(node.graph("MODEL", **logged(sink, "request")), flags=["--protocol", "v2"]) as client,
    ):
        sent = {"Inference-Header-Content-Length": str(len(text)), "Content-Type": "application/octet-stream"}
        await client.post(body, path="/v2/models/infer", headers=sent)
        (event,) = await sink.received(1)
    assert (event.body, event.headers["inference-header-content-length"]) == (body, str(len(text)))


async def test_v2_over_grpc_is_logged_in_the_rest_form() -> None:
    def answer(_method: str, _request: bytes) -> bytes:
        response = v2.ModelInferResponse(model_name="n", raw_output_contents=[b"\7\0\0\0"])
        response.outputs.add(name="x", datatype="INT32", shape=[1])
        return response.SerializeToString()

    first, second = Node("first", grpc=answer), Node("second", grpc=answer)
    request = v2.ModelInferRequest()
    request.inputs.add(name="x", datatype="INT32", shape=[1]).contents.int_contents.append(7)
    async with receiver() as sink, serving(first, second):
        graph = first.graph("MODEL", second.graph("MODEL", **logged(sink)), **logged(sink, "request"))
        async with executor(graph, flags=["--protocol", "v2"]) as client:
            await client.call(request, "/inference.GRPCInferenceService/ModelInfer")
            await sink.received(4)
    found = {(event.node, event.kind): json.loads(event.body) for event in sink.events}
    assert found[("first", REQUEST)] == found[("second", REQUEST)] == json.loads(tensor("x", "inputs"))
    assert found[("second", RESPONSE)] == {"model_name": "n", **json.loads(tensor("x", "outputs"))}
    assert {event.headers["Content-Type"] for event in sink.events} == {"application/json"}


async def test_v2_route_to_no_child_is_logged_as_an_answer() -> None:
    router = Node("router", rest=lambda _: Reply(b'{"data":{"ndarray":[[-2]]}}'))
    async with receiver() as sink, serving(router):
        graph = router.graph("ROUTER", {"name": "leaf", "type": "MODEL", "endpoint": router.endpoint()}, **logged(sink))
        async with executor(graph, flags=["--protocol", "v2"]) as client:
            await client.post(tensor("x", "inputs"), path="/v2/models/infer")
            await sink.received(2)
    events = {event.kind: json.loads(event.body) for event in sink.events}
    assert events[RESPONSE] == json.loads(tensor("x", "outputs"))


async def test_tensorflow_is_logged_over_both_wires() -> None:
    def answer(_method: str, _request: bytes) -> bytes:
        response = tf.PredictResponse()
        response.outputs["y"].dtype = 3
        response.outputs["y"].int_val.append(7)
        return response.SerializeToString()

    kinds = {"rest": lambda _: Reply(b'{"predictions":[1]}'), "grpc": answer}
    first, second = Node("first", **kinds), Node("second", **kinds)
    request = tf.PredictRequest()
    request.inputs["x"].dtype = 3
    request.inputs["x"].int_val.append(7)
    async with receiver() as sink, serving(first, second):
        graph = first.graph("MODEL", second.graph("MODEL", **logged(sink)))
        async with executor(graph, flags=["--protocol", "tensorflow"]) as client:
            await client.post(b'{"instances":[0]}', path="/v1/models/:predict")
            await sink.received(2)
            rest = {event.kind: json.loads(event.body) for event in sink.events}
            sink.events.clear()
            await client.call(request, "/tensorflow.serving.PredictionService/Predict")
            await sink.received(2)
    assert rest == {REQUEST: {"instances": [1]}, RESPONSE: {"predictions": [1]}}
    wire = {event.kind: json.loads(event.body) for event in sink.events}
    assert wire == {
        REQUEST: {"inputs": {"y": {"dtype": "DT_INT32", "intVal": [7]}}},
        RESPONSE: {"outputs": {"y": {"dtype": "DT_INT32", "intVal": [7]}}},
    }


async def test_refused_grpc_call_has_its_request_only() -> None:
    def refuse(_method: str, _request: bytes) -> bytes:
        raise Refusal(grpc.StatusCode.INTERNAL, "no")

    node = Node("clf", grpc=refuse)
    async with receiver() as sink, serving(node), executor(node.graph("MODEL", **logged(sink))) as client:
        with pytest.raises(grpc.aio.AioRpcError):
            await client.call(pb.SeldonMessage(strData="a"))
        (event,) = await sink.received(1)
    assert (event.kind, event.body) == (REQUEST, b'{"strData":"a"}')


async def test_receiver_that_never_answers_delays_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload_log, "LOG_FLUSH_S", 0.0)
    node = Node("clf")
    flags = ["--log_work_buffer_size", "3", "--log_write_timeout_ms", "0", "--logger_workers", "2"]
    async with (
        receiver(answers=False) as sink,
        serving(node),
        executor(node.graph("MODEL", **logged(sink, "request")), flags=flags) as client,
    ):
        begun = time.monotonic()
        for _ in range(20):
            assert (await client.post(BODY)).status == 200
        took_s = time.monotonic() - begun
        await eventually(lambda: len(sink.events) == 2, what="two events under way")
        assert await lost(client, "queue_full") == 15
        assert await metric(client, "waiting") == 3
        assert await metric(client, "held_bytes") == 5 * (1024 + len(BODY))
    assert took_s < payload_log_sender.LOG_DELIVERY_TIMEOUT_S  # one wait for the receiver would be as long


async def test_events_above_the_bound_on_bytes_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.executor.engine.MAX_LOG_BYTES", 100_000)
    node, photo = Node("clf"), {"Content-Type": "image/jpeg"}
    async with (
        receiver() as sink,
        serving(node),
        executor(node.graph("MODEL", **logged(sink, "request"))) as client,
    ):
        await client.post(bytes(200_000), headers=photo)
        await client.post(bytes(50_000), headers=photo)
        (event,) = await sink.received(1)
        assert await lost(client, "bytes") == 1
        await eventually(lambda: _is_empty(client), what="nothing held")
    assert len(event.body) == 50_000


async def _is_empty(client: Executor) -> bool:
    return await metric(client, "held_bytes") == 0


async def test_event_that_waits_too_long_for_a_place_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload_log, "LOG_FLUSH_S", 0.0)
    node = Node("clf")
    flags = ["--log_work_buffer_size", "1", "--log_write_timeout_ms", "50", "--logger_workers", "1"]
    async with (
        receiver(answers=False) as sink,
        serving(node),
        executor(node.graph("MODEL", **logged(sink, "request")), flags=flags) as client,
    ):
        for _ in range(4):
            await client.post(BODY)
        await eventually(lambda: _lost_two(client), what="two events given up")
        assert await metric(client, "waiting") == 1


async def _lost_two(client: Executor) -> bool:
    return await lost(client, "queue_full") == 2


async def test_passing_failures_of_a_receiver_are_tried_again_with_the_same_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(payload_log, "LOG_RETRY_PAUSES_S", (0.0, 0.0))
    node = Node("clf")
    async with receiver() as sink, serving(node):
        sink.status = lambda number: (503, 429, 200)[number]
        async with executor(node.graph("MODEL", **logged(sink, "request"))) as client:
            await client.post(BODY)
            await sink.received(3)
            await eventually(lambda: _delivered(client), what="the delivery counted")
    assert len({event.headers["ce-id"] for event in sink.events}) == 1
    assert {event.body for event in sink.events} == {BODY}


async def _delivered(client: Executor) -> bool:
    return await metric(client, "delivered_total") == 1


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(payload_log, "LOG_RETRY_PAUSES_S", (0.0, 0.0))
    return


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize(
    ("status", "attempts", "reason"), [(400, 1, "refused"), (307, 1, "refused"), (500, 3, "unreachable")]
)
async def test_events_that_no_attempt_delivers_are_counted(
    status: int, attempts: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node("clf")
    async with receiver() as sink, serving(node):
        sink.status = lambda _: status
        async with executor(node.graph("MODEL", **logged(sink, "request"))) as client:
            await client.post(BODY)
            await eventually(lambda: lost(client, reason), what="the loss counted")
    await sink.received(attempts)
    assert (
        f"payload events lost: {reason} 1; the last: node clf to {sink.url.rstrip('/')}: answered {status}"
        in caplog.text
    )


@pytest.mark.usefixtures("quick_retries")
async def test_password_in_the_url_reaches_the_receiver_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    node = Node("clf")
    async with receiver() as sink, serving(node):
        sink.status = lambda _: 403
        secret = sink.url.replace("http://", "http://ada:hunter2@") + "?token=hunter2"
        gone = "http://ada:hunter2@127.0.0.1:1/hunter2@x?token=hunter2"
        graph = node.graph("MODEL", logger={"mode": "request", "url": secret})
        graph["children"] = [
            Node("below", http_port=node.http_port).graph("MODEL", logger={"mode": "all", "url": gone})
        ]
        async with executor(graph) as client:
            await client.post(BODY)
            await eventually(lambda: lost(client, "unreachable"), what="the loss counted")
            exposed = (await client.get("/prometheus")).body.decode()
    assert {event.headers["Authorization"] for event in sink.events} == {"Basic YWRhOmh1bnRlcjI="}
    assert "payload events lost" in caplog.text
    assert "hunter2" not in exposed
    assert "hunter2" not in caplog.text


@pytest.mark.usefixtures("quick_retries")
async def test_losses_are_told_at_once_and_then_seldom(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload_log_losses, "LOG_COMPLAINT_S", 3600.0)
    node = Node("clf")
    async with serving(node):
        graph = node.graph("MODEL", logger={"mode": "request", "url": "http://127.0.0.1:1/"})
        async with executor(graph) as client:
            for _ in range(30):
                await client.post(BODY)
            await eventually(lambda: _lost_thirty(client), what="all losses counted")
            lines = [one.getMessage() for one in caplog.records if "payload events lost" in one.getMessage()]
            assert len(lines) == 1
            assert lines[0].startswith("payload events lost: unreachable 1; the last: node clf to http://127.0.0.1:1: ")
    assert "payload events lost: unreachable 29; the last: " in caplog.text


async def _lost_thirty(client: Executor) -> bool:
    return await lost(client, "unreachable") == 30


async def test_events_under_way_are_flushed_at_the_end() -> None:
    node = Node("clf")
    async with receiver() as sink, serving(node):
        async with executor(node.graph("MODEL", **logged(sink)), flags=["--logger_workers", "1"]) as client:
            await asyncio.gather(*(client.post(BODY) for _ in range(50)))
        assert len(sink.events) == 100


async def test_end_waits_for_a_bounded_time_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(payload_log, "LOG_FLUSH_S", 0.05)
    node = Node("clf")
    async with (
        receiver(answers=False) as sink,
        serving(node),
        executor(node.graph("MODEL", **logged(sink)), flags=["--logger_workers", "1"]) as client,
    ):
        for _ in range(5):
            await client.post(BODY)
    assert "payload events lost: shutdown 10" in caplog.text


async def test_many_large_protobuf_payloads_are_logged_whole() -> None:
    node = Node("clf")
    message = pb.SeldonMessage()
    message.data.tensor.shape.extend([40_000])
    message.data.tensor.values.extend(float(number) for number in range(40_000))
    async with receiver() as sink, serving(node), executor(node.graph("MODEL", **logged(sink))) as client:
        await asyncio.gather(*(client.call(message) for _ in range(3)))
        await sink.received(6)
    for event in sink.events:
        assert json.loads(event.body)["data"]["tensor"]["values"][-1] == 39_999.0


async def test_localhost_is_the_pod_s_own_address() -> None:
    node = Node("clf")
    async with receiver() as sink, serving(node):
        url = sink.url.replace("127.0.0.1", "localhost")
        hosts = {"SLIPWAY_POD_IP": "127.0.0.1"}
        graph = node.graph("MODEL", logger={"mode": "request", "url": url})
        async with executor(graph, environment=hosts) as client:
            await client.post(BODY)
            (event,) = await sink.received(1)
    assert event.headers["Host"].startswith("localhost:")


async def test_names_of_services_come_from_the_hosts_file(tmp_path: Path) -> None:
    node = Node("clf")
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 sink.default.svc.cluster.local\n")
    async with receiver() as sink, serving(node):
        url = sink.url.replace("127.0.0.1", "sink.default.svc.cluster.local")
        graph = node.graph("MODEL", logger={"mode": "request", "url": url})
        async with executor(graph, environment={"SLIPWAY_HOSTS": str(hosts)}) as client:
            await client.post(BODY)
            await sink.received(1)


async def test_nothing_is_started_where_no_node_has_a_logger() -> None:
    node = Node("clf")
    async with serving(node), executor(node.graph("MODEL")) as client:
        await client.post(BODY)
        assert "payload log" not in {task.get_name() for task in asyncio.all_tasks()}
        assert await metric(client, "delivered_total") == 0


def test_kafka_is_refused_with_a_sentence() -> None:
    with pytest.raises(SettingError, match=r"LOGGER_KAFKA_BROKER is not offered: .* over HTTP"):
        parse_settings([], {"LOGGER_KAFKA_BROKER": "kafka:9092"})


@pytest.mark.parametrize(
    "words",
    [
        ["--log_work_buffer_size", "0"],
        ["--log-work-buffer-size", "many"],
        ["--log_write_timeout_ms", "-1"],
        ["--logger_workers", "0"],
        ["--logger-workers", "65"],
    ],
)
def test_numbers_that_bound_nothing_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(words, {})
    assert f"{words[1]!r} is no whole number from" in capsys.readouterr().err


def test_flags_of_the_operator_are_taken() -> None:
    flags = ["--log_work_buffer_size", "7", "--log_write_timeout_ms", "250", "--logger_workers", "3"]
    found = parse_settings([*flags, "--hostname", "me", "--http_port", "9"], {"REQUEST_LOGGER_DEFAULT_ENDPOINT": "u"})
    assert (found.log_entries, found.log_wait_s, found.log_workers) == (7, 0.25, 3)
    assert (found.log_source, found.log_url) == ("http://me:9/", "u")


async def test_logger_that_is_added_to_a_running_predictor_counts_and_sigterm_flushes(tmp_path: Path) -> None:
    node, path = Node("clf"), tmp_path / "predictor.json"
    async with receiver(answers=False) as sink, serving(node):
        write(path, node.graph("MODEL"))
        async with started("--predictor-file", str(path), "--logger_workers", "1") as process:
            await eventually(process.is_ready)
            await process.predict()
            write(path, node.graph("MODEL", **logged(sink)))

            async def first_event() -> bool:
                await process.predict()
                return bool(sink.events)

            await eventually(first_event)
            process.process.send_signal(signal.SIGTERM)
            sink.gate.set()
            assert await asyncio.wait_for(process.process.wait(), 10) == 0
    assert len(sink.events) % 2 == 0
    assert {event.kind for event in sink.events} == {REQUEST, RESPONSE}
    assert not [line for line in process.log if "payload events lost" in line]


def test_end_of_an_executor_fits_into_that_of_its_pod() -> None:
    flush_s = max(LOG_FLUSH_S, tracing_queue.FLUSH_S + tracing_queue.ABANDON_S)  # at once
    assert DRAIN_S + GRACE_S + flush_s < ending.GRACE_S
    assert ending.CLUSTER_DRAIN_S + GRACE_S + flush_s + ending.PROXY_DRAIN_S < ending.CLUSTER_GRACE_S


async def test_kafka_in_the_environment_ends_the_start_with_a_sentence() -> None:
    code, text = await run_to_the_end(LOGGER_KAFKA_BROKER="kafka:9092")
    assert code == 1
    assert "LOGGER_KAFKA_BROKER is not offered" in text


async def test_receiver_of_the_page_prints_what_the_page_says() -> None:
    page = (REPOSITORY / "docs" / "observability.md").read_text()
    (program,) = re.findall(r"^python - <<'END'\n(.*?)^END$", page, re.DOTALL | re.MULTILINE)
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program.replace("9090", str(port)), stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    node = Node("clf")
    try:
        assert process.stdout is not None
        await eventually(lambda: _accepts(port), what="the page's receiver")
        logger = {"mode": "all", "url": f"http://127.0.0.1:{port}/"}
        async with serving(node), executor(node.graph("MODEL", logger=logger)) as client:
            await client.post(BODY)
            lines = [await asyncio.wait_for(process.stdout.readline(), 10) for _ in range(2)]
    finally:
        process.kill()
        await process.wait()
    assert sorted(line.decode() for line in lines) == [f"clf {REQUEST} {BODY!r}\n", f"clf {RESPONSE} {ANSWER!r}\n"]


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_name_server_that_does_not_answer_holds_up_no_request_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload_log, "LOG_FLUSH_S", 0.0)
    asked, release = threading.Event(), threading.Event()
    real = socket.getaddrinfo

    def slow(host: Any, *rest: Any, **options: Any) -> Any:
        if host != "sink.example":
            return real(host, *rest, **options)
        asked.set()
        release.wait()
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    node = Node("clf")
    try:
        async with serving(node):
            graph = node.graph("MODEL", logger={"mode": "all", "url": "http://sink.example/"})
            async with executor(graph) as client:
                for _ in range(40):
                    assert (await client.post(BODY)).status == 200
                await eventually(asked.is_set, what="a lookup under way")
            await asyncio.wait_for(asyncio.get_running_loop().shutdown_default_executor(), 5)
    finally:
        release.set()


@pytest.mark.usefixtures("quick_retries")
async def test_receiver_whose_name_is_unknown_is_unreachable(caplog: pytest.LogCaptureFixture) -> None:
    node = Node("clf")
    async with serving(node):
        graph = node.graph("MODEL", logger={"mode": "request", "url": "http://no-such-host.invalid/in"})
        async with executor(graph) as client:
            await client.post(BODY)
            await eventually(lambda: lost(client, "unreachable"), what="the loss counted")
    assert "node clf to http://no-such-host.invalid: " in caplog.text
