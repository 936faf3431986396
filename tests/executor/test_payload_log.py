"""Payload logging with real nodes and a real receiver: the contract's behaviours 51 to 55, and what bounds it."""

from __future__ import annotations

import gzip
import json
import re
from uuid import UUID

import grpc
import pytest

from slipway.contract.protos import inference_pb2 as v2
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import tensorflow_serving_pb2 as tf
from tests.executor.executors import executor
from tests.executor.nodes import Node, Refusal, Reply, serving
from tests.executor.receivers import FEEDBACK, REQUEST, RESPONSE, logged, receiver

BODY = b'{"data":{"ndarray":[[0]]}}'
ANSWER = b'{"data":{"ndarray":[[1]]}}'
FEEDBACKS = "/api/v1.0/feedback"
ROUTES = Reply(b'{"data":{"ndarray":[[0]]}}')


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
