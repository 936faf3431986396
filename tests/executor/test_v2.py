"""Graphs of protocol v2 with real nodes behind them: chaining without loss, every node type, REST and gRPC."""

from __future__ import annotations

import json
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings

from slipway.contract.protos import inference_pb2 as v2
from slipway.executor.errors import ChainError
from slipway.executor.payload import Payload
from slipway.executor.protocols import PROTOCOLS
from slipway.executor.v2 import V2, answer_of_request, request_of_answer
from slipway.serving.messages import PROTOBUF
from slipway.serving.v2_json import (
    V2Body,
    parse_infer_request,
    parse_infer_response,
    render_infer_response,
)
from slipway.serving.v2_messages import InferResponse
from slipway.serving.v2_proto import (
    parse_infer_request_proto,
    parse_infer_response_proto,
    render_infer_request_proto,
    render_infer_response_proto,
)
from slipway.serving.v2_tensors import Tensor
from tests.executor.executors import Answer, Executor, executor
from tests.executor.graphs import graph_of
from tests.executor.nodes import Node, Refusal, Reply, serving
from tests.serving.v2_strategies import REQUESTS, RESPONSES, assert_same

V2_FLAGS = ("--protocol", "v2")
INFER = "/inference.GRPCInferenceService/ModelInfer"
SIZE = "Inference-Header-Content-Length"
REQUEST = {"id": "7", "parameters": {"k": 1}, "inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": [1]}]}


def answering(value: Any, datatype: str = "INT64", **fields: Any) -> Any:
    entry = {"name": "y", "datatype": datatype, "shape": [1], "data": [value], "parameters": {"p": "q"}}
    body = json.dumps({"model_name": "a", "id": "7", "parameters": {"k": 1}, "outputs": [entry], **fields}).encode()
    return lambda _: Reply(body)


def numbers_of(answer: Answer) -> list[Any]:
    assert answer.status == 200, answer.body
    (output,) = json.loads(answer.body)["outputs"]
    return output["data"]


async def infer(client: Executor, body: Any = REQUEST, path: str = "/v2/models/infer", **options: Any) -> Answer:
    return await client.post(json.dumps(body).encode(), path, **options)


def spec(graph: dict[str, Any], **options: Any) -> Any:
    return executor(graph, flags=V2_FLAGS, **options)


@pytest.mark.parametrize("path", ["/v2/models/infer", "/v2/models/a/infer", "/v2/models/b/infer"])
async def test_chain_s_outputs_become_inputs_and_nothing_else_changes(path: str) -> None:
    first, second = Node("a", rest=answering(2)), Node("b", rest=answering(3))
    async with serving(first, second), spec(first.graph("MODEL", second.graph("MODEL"))) as client:
        raw = b'{ "inputs": [{"name":"x","datatype":"INT64","shape":[1],"data":[1]}],  "id":"7"}'
        answer = await client.post(raw, path)
    assert numbers_of(answer) == [3]
    assert [seen.path for seen in first.calls()] == ["/v2/models/a/infer"]
    assert first.calls()[0].body == raw
    (asked,) = second.calls()
    assert asked.path == "/v2/models/b/infer"
    sent = json.loads(asked.body)
    assert sent["inputs"] == [
        {"name": "y", "datatype": "INT64", "shape": [1], "data": [2], "parameters": {"p": "q"}},
    ]
    assert (sent["id"], sent["parameters"], "outputs" in sent) == ("7", {"k": 1}, False)


@pytest.mark.parametrize(("path", "asked"), [("other", "other"), ("other/versions/3", "other/versions/3")])
async def test_name_that_is_no_node_s_is_asked_of_every_node(path: str, asked: str) -> None:
    first, second = Node("a", rest=answering(2)), Node("b", rest=answering(3))
    async with serving(first, second), spec(first.graph("MODEL", second.graph("MODEL"))) as client:
        assert numbers_of(await infer(client, path=f"/v2/models/{path}/infer")) == [3]
        metrics = (await client.get("/prometheus")).body
    assert [seen.path for seen in (*first.calls(), *second.calls())] == [f"/v2/models/{asked}/infer"] * 2
    assert b"/v2/models/a/infer" in metrics
    assert b"other" not in metrics, "a client's words make no series"


@pytest.mark.parametrize("name", ["..", "a%2Fb", "x%0d%0a", "%00", "a" * 300])
async def test_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    node = Node("a", rest=answering(2))
    async with serving(node), spec(node.graph("MODEL")) as client:
        answer = await client.ask("POST", f"/v2/models/{name}/infer", data=b"{}")
    assert answer.status in (400, 404)
    assert node.calls() == []


async def test_binary_tensors_pass_as_bytes_and_are_asked_on_in_binary() -> None:
    tail = np.array([1.5, np.nan], dtype="f4").tobytes() + b"\x80\x3f"
    entries = [
        {"name": "y", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}},
        {"name": "z", "datatype": "BF16", "shape": [1], "parameters": {"binary_data_size": 2}},
    ]
    text = json.dumps({"id": "7", "outputs": entries}).encode()
    headers = {"Content-Type": "application/octet-stream", SIZE: str(len(text))}
    first = Node("a", rest=lambda _: Reply(text + tail, headers=headers))
    second = Node("b", rest=lambda _: Reply(text + tail, headers=headers))
    async with serving(first, second), spec(first.graph("MODEL", second.graph("MODEL"))) as client:
        answer = await client.ask(
            "POST", "/v2/models/infer", data=b"{}" + b"photo", headers={SIZE: "2", "Content-Type": "application/x"}
        )
    (asked,) = first.calls()
    assert (asked.body, asked.headers[SIZE], asked.headers["Content-Type"]) == (b"{}photo", "2", "application/x")
    (asked,) = second.calls()
    size = int(asked.headers[SIZE])
    assert asked.body[size:] == tail
    sent = json.loads(asked.body[:size])
    assert (sent["inputs"], sent["parameters"], sent["id"]) == (entries, {"binary_data_output": True}, "7")
    assert (answer.body, answer.headers[SIZE]) == (text + tail, str(len(text)))


@given(RESPONSES)
@settings(deadline=None)
def test_any_rest_answer_is_the_next_request_to_the_bit(response: Any) -> None:
    if not response.outputs:
        return
    for choice in (True, False):
        body = render_infer_response(response, binary=lambda _, choice=choice: choice)
        asked = request_of_answer(Payload(body.body, json_bytes=body.json_bytes, is_answer=True))
        request = parse_infer_request(V2Body(asked.body, asked.json_bytes))
        assert (request.id, not asked.is_answer) == (response.id, True)
        for one, other in zip(request.inputs, response.outputs, strict=True):
            assert_same(one, other, bitwise=choice)


@given(RESPONSES)
@settings(deadline=None)
def test_any_grpc_answer_is_the_next_request_to_the_bit(response: Any) -> None:
    if not response.outputs:
        return
    node = graph_of({"name": "b", "type": "MODEL"}).root
    for raw in (True, False):
        body = render_infer_response_proto(response, is_raw=raw).SerializeToString()
        asked = V2.ask_grpc(node, node.input, Payload(body, PROTOBUF, is_answer=True), model="")
        message = v2.ModelInferRequest.FromString(asked.payload.body)
        assert (message.model_name, message.model_version) == ("b", "")
        request = parse_infer_request_proto(message)
        assert (request.id, request.parameters) == (response.id, response.parameters)
        sent = parse_infer_response_proto(v2.ModelInferResponse.FromString(body))  # Python makes a signalling NaN quiet
        for one, other in zip(request.inputs, sent.outputs, strict=True):
            assert_same(one, other)


@given(REQUESTS)
@settings(deadline=None)
def test_request_that_no_node_answered_is_an_answer_to_the_bit(request_: Any) -> None:
    body = render_infer_request_proto(request_).SerializeToString()
    answer = answer_of_request(Payload(body, PROTOBUF))
    found = parse_infer_response_proto(v2.ModelInferResponse.FromString(answer.body))
    assert (found.id, found.parameters) == (request_.id, request_.parameters)
    sent = parse_infer_request_proto(v2.ModelInferRequest.FromString(body))  # as above
    for one, other in zip(found.outputs, sent.inputs, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"x", b'{"predictions": []}'])
async def test_answer_that_cannot_be_asked_on_is_a_clear_500(body: bytes) -> None:
    first, second = Node("a", rest=lambda _: Reply(body)), Node("b")
    async with serving(first, second), spec(first.graph("MODEL", second.graph("MODEL"))) as client:
        answer = await infer(client)
    assert (answer.status, answer.headers["x-slipway-reason"]) == (500, ChainError.machine_code)
    assert list(json.loads(answer.body)) == ["error"]
    assert second.calls() == []


async def test_router_s_route_is_its_first_output() -> None:
    router, left, right = Node("r"), Node("a", rest=answering(1)), Node("b", rest=answering(2))
    async with serving(router, left, right):
        graph = router.graph("ROUTER", left.graph("MODEL"), right.graph("MODEL"))
        async with spec(graph) as client:
            for reply, wanted in (
                (answering(1), [2]),
                (answering(0), [1]),
                (answering(-1), [1]),
                (answering(1.0, "FP32"), [2]),
                (lambda _: Reply(b"[1]"), [2]),
                (lambda _: Reply(b'{"data":{"ndarray":[[1]]}}'), [2]),
                (answering(-2), [1]),
            ):
                router.rest = reply
                answer = await infer(client)
                assert numbers_of(answer) == wanted
            assert json.loads(answer.body)["outputs"] == REQUEST["inputs"]
            assert json.loads(answer.headers["x-slipway-routing"]) == {"r": -2}
            for reply in (answering(2), answering("a", "BYTES"), lambda _: Reply(b"{}"), answering(1e400, "FP64")):
                router.rest = reply
                answer = await infer(client)
                assert (answer.status, answer.headers["x-slipway-reason"]) == (500, "ROUTE_INVALID")
    assert {seen.path for seen in router.calls()} == {"/v2/models/r/route"}


async def test_combiner_gets_a_json_array_also_of_binary_answers() -> None:
    binary = render_infer_response(
        parse_infer_response(V2Body(b'{"outputs":[{"name":"y","datatype":"FP16","shape":[1],"data":[0.5]}]}')),
        binary=lambda _: True,
    )
    left, right, join = Node("a", rest=answering(1)), Node("b"), Node("c", rest=answering(5))
    right.rest = lambda _: Reply(binary.body, headers={SIZE: str(binary.json_bytes)})
    async with (
        serving(left, right, join),
        spec(join.graph("COMBINER", left.graph("MODEL"), right.graph("MODEL"))) as client,
    ):
        assert numbers_of(await infer(client)) == [5]
        for body in (b"{}", b"[1]", b"x"):
            right.rest = lambda _, body=body: Reply(body)
            answer = await infer(client)
            assert (answer.status, answer.headers["x-slipway-reason"]) == (500, "COMBINE_INVALID")
    (asked,) = join.calls()
    assert asked.path == "/v2/models/c/aggregate"
    assert [entry["outputs"][0]["data"] for entry in json.loads(asked.body)] == [[1], [0.5]]


async def test_transformers_are_told_which_hook_is_meant() -> None:
    before, model, after = Node("t", rest=answering(1)), Node("m", rest=answering(2)), Node("o", rest=answering(3))
    async with serving(before, model, after):
        graph = after.graph("OUTPUT_TRANSFORMER", before.graph("TRANSFORMER", model.graph("MODEL")))
        async with spec(graph) as client:
            assert numbers_of(await infer(client, headers={"x-slipway-hook": "route"})) == [3]
    hooks = [node.calls()[0].headers["x-slipway-hook"] for node in (before, model, after)]
    assert hooks == ["transform_input", "predict", "transform_output"]


async def test_built_in_nodes_answer_in_the_protocol() -> None:
    left, right = Node("a", rest=answering(1)), Node("b", rest=answering(2))
    average = {"name": "m", "implementation": "AVERAGE_COMBINER"}
    async with serving(left, right):
        async with spec({**average, "children": [left.graph("MODEL"), right.graph("MODEL")]}) as client:
            body = json.loads((await infer(client)).body)
            (output,) = body["outputs"]
            assert (output["name"], output["datatype"], output["data"], body["id"]) == ("y", "FP64", [1.5], "7")
            right.rest = answering("a", "BYTES")
            answer = await infer(client)
            assert (answer.status, answer.headers["x-slipway-reason"]) == (500, "COMBINE_INVALID")
        async with spec({"name": "s", "implementation": "SIMPLE_MODEL"}) as client:
            body = json.loads((await infer(client)).body)
            assert (body["id"], body["outputs"][0]["data"]) == ("7", [0.1, 0.9, 0.5])
        split = {
            "name": "r",
            "implementation": "SIMPLE_ROUTER",
            "children": [left.graph("MODEL"), right.graph("MODEL")],
        }
        async with spec(split) as client:
            assert numbers_of(await infer(client)) == [1]


async def test_questions_go_to_the_node_of_the_model_s_name() -> None:
    first, second = Node("a"), Node("b")
    first.rest = lambda seen: Reply(json.dumps({"name": seen.path}).encode())
    async with serving(first, second), spec(first.graph("MODEL", second.graph("MODEL"))) as client:
        for path in ("/v2/models/a", "/v2/models/a/ready", "/v2/models/a/versions/2", "/v2/models/a/versions/2/ready"):
            answer = await client.get(path)
            assert (answer.status, json.loads(answer.body)) == (200, {"name": path})
        missing = await client.get("/v2/models/c/ready")
        assert (missing.status, json.loads(missing.body)) == (
            404, {"error": "predictor main has no model 'c'; it has a, b"},
        )  # fmt: skip
        for path, told in (("/v2/health/live", {"live": True}), ("/v2/health/ready", {"ready": True})):
            answer = await client.get(path)
            assert (answer.status, json.loads(answer.body)) == (200, told)
        assert json.loads((await client.get("/v2")).body)["extensions"] == ["binary_tensor_data"]


async def test_only_node_answers_for_every_model_it_may_have() -> None:
    node = Node("triton", rest=lambda seen: Reply(json.dumps({"name": seen.path}).encode()))
    async with serving(node), spec(node.graph("MODEL")) as client:
        answer = await client.get("/v2/models/densenet/ready")
    assert json.loads(answer.body) == {"name": "/v2/models/densenet/ready"}


async def test_not_ready_says_so_in_the_protocol() -> None:
    async with spec({"name": "a", "type": "MODEL"}, ready=False) as client:
        answer = await client.get("/v2/health/ready")
        assert (answer.status, json.loads(answer.body)) == (503, {"ready": False})
        ready, _ = await client.call(v2.ServerReadyRequest(), "/inference.GRPCInferenceService/ServerReady")
        assert not v2.ServerReadyResponse.FromString(ready).ready


async def test_full_health_checks_ask_the_protocol_s_path() -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL"), flags=(*V2_FLAGS, "--full_health_checks")):
        assert {seen.path for seen in node.seen} == {"/v2/health/ready"}


async def test_node_s_refusal_passes_and_own_errors_have_the_protocol_s_form() -> None:
    node = Node("a", rest=lambda _: Reply(b'{"error":"too dark"}', status=422))
    async with serving(node), spec(node.graph("MODEL")) as client:
        answer = await infer(client)
        assert (answer.status, answer.body) == (422, b'{"error":"too dark"}')
        bad = await infer(client, headers={SIZE: "x"})
        assert (bad.status, list(json.loads(bad.body))) == (400, ["error"])
        missing = await client.get("/v2/models")
        assert (missing.status, list(json.loads(missing.body))) == (404, ["error"])
    async with spec({"name": "a", "type": "MODEL"}, ready=False) as client:
        answer = await infer(client)
        assert (answer.status, answer.headers["x-slipway-reason"]) == (503, "NODE_UNREACHABLE")
        assert list(json.loads(answer.body)) == ["error"]


async def test_feedback_is_given_back() -> None:
    node = Node("a")
    async with serving(node), spec(node.graph("MODEL")) as client:
        answer = await client.post(b'{"reward":1}', "/api/v1.0/feedback")
        assert (answer.status, answer.body, node.calls()) == (200, b'{"reward":1}', [])
        gone = await client.post(b'{"reward":1}', "/api/v1.0/feedback", headers={"slipway-predictor": "gone"})
    assert (gone.status, gone.headers["x-slipway-reason"]) == (404, "FEEDBACK_PREDICTOR_UNKNOWN")


def message(value: int, *, raw: bool, name: str = "") -> v2.ModelInferRequest:
    request = v2.ModelInferRequest(model_name=name, id="7")
    request.parameters["k"].int64_param = 1
    tensor = request.inputs.add(name="x", datatype="INT64", shape=[1])
    if raw:
        request.raw_input_contents.append(value.to_bytes(8, "little"))
    else:
        tensor.contents.int64_contents.append(value)
    return request


def adding(amount: int, *, raw: bool) -> Any:
    """A gRPC node that adds to every number of its inputs, and answers raw or typed."""

    def behave(_method: str, request: bytes) -> bytes:
        asked = parse_infer_request_proto(v2.ModelInferRequest.FromString(request))
        outputs = tuple(Tensor(one.name, one.datatype, one.array + amount, one.parameters) for one in asked.inputs)
        return render_infer_response_proto(_response(outputs, asked), is_raw=raw).SerializeToString()

    return behave


def _response(outputs: Any, asked: Any) -> Any:
    return InferResponse(outputs, asked.id, asked.parameters, model_name=asked.model_name, model_version="4")


async def grpc_infer(client: Executor, request: v2.ModelInferRequest) -> Any:
    body, _ = await client.call(request, INFER)
    return parse_infer_response_proto(v2.ModelInferResponse.FromString(body))


@pytest.mark.parametrize("raws", [(True, True), (False, True), (True, False), (False, False)])
async def test_grpc_chain_keeps_raw_and_typed_contents(raws: tuple[bool, bool]) -> None:
    first, second = Node("a", grpc=adding(10, raw=raws[0])), Node("b", grpc=adding(100, raw=raws[1]))
    async with serving(first, second), spec(first.graph("MODEL", second.graph("MODEL"))) as client:
        answer = await grpc_infer(client, message(1, raw=raws[0]))
    assert (answer.outputs[0].array.tolist(), answer.id, answer.parameters) == ([111], "7", {"k": 1})
    names = [v2.ModelInferRequest.FromString(node.grpc_seen[0][2]).model_name for node in (first, second)]
    assert names == ["a", "b"]
    assert [node.grpc_seen[0][0] for node in (first, second)] == [INFER, INFER]


async def test_grpc_name_that_is_no_node_s_is_asked_of_every_node() -> None:
    first, second = Node("a", grpc=adding(1, raw=True)), Node("b", grpc=adding(1, raw=True))
    async with serving(first, second), spec(first.graph("MODEL", second.graph("MODEL"))) as client:
        await grpc_infer(client, message(1, raw=True, name="other"))
        await grpc_infer(client, message(1, raw=True, name="b"))
    names = [v2.ModelInferRequest.FromString(seen[2]).model_name for node in (first, second) for seen in node.grpc_seen]
    assert names == ["other", "a", "other", "b"]


async def test_grpc_router_combiner_and_transformers_work() -> None:
    router, join = Node("r"), Node("c", grpc=adding(1000, raw=True))
    left, right = Node("a", grpc=adding(10, raw=True)), Node("b", grpc=adding(20, raw=False))
    async with serving(router, join, left, right):
        routed = router.graph("ROUTER", left.graph("MODEL"), right.graph("MODEL"))
        joined = join.graph("COMBINER", left.graph("TRANSFORMER"), right.graph("MODEL"))
        async with spec(routed) as client:
            for route, wanted in ((0, 11), (1, 21), (-2, 1)):
                router.grpc = lambda _, __, route=route: render_infer_response_proto(
                    _response((Tensor("r", "INT64", np.array([route])),), message_of(1)), is_raw=True
                ).SerializeToString()
                assert (await grpc_infer(client, message(1, raw=True))).outputs[0].array.tolist() == [wanted]
            router.grpc = lambda _, __: b""
            with pytest.raises(grpc.aio.AioRpcError, match="holds no route"):
                await grpc_infer(client, message(1, raw=True))
        async with spec(joined) as client:
            answer = await grpc_infer(client, message(1, raw=True))
    assert [one.array.tolist() for one in answer.outputs] == [[1011], [1021]]
    asked = v2.ModelInferRequest.FromString(join.grpc_seen[0][2])
    assert [one.parameters["slipway_child"].int64_param for one in asked.inputs] == [0, 1]
    assert join.grpc_seen[0][1]["x-slipway-hook"] == "aggregate"
    assert left.grpc_seen[-1][1]["x-slipway-hook"] == "transform_input"


def message_of(value: int) -> Any:
    return parse_infer_request_proto(message(value, raw=True))


async def test_grpc_questions_go_to_the_node_of_the_model_s_name() -> None:
    node = Node("a", grpc=lambda method, request: v2.ModelReadyResponse(ready=True).SerializeToString())
    other = Node("b")
    async with serving(node, other), spec(node.graph("MODEL", other.graph("MODEL"))) as client:
        service = "/inference.GRPCInferenceService"
        answer, metadata = await client.call(v2.ModelReadyRequest(name="a"), f"{service}/ModelReady")
        assert v2.ModelReadyResponse.FromString(answer).ready
        assert (metadata["x-slipway-predictor"], node.grpc_seen[0][0]) == ("main", f"{service}/ModelReady")
        answer, _ = await client.call(v2.ServerLiveRequest(), f"{service}/ServerLive")
        assert v2.ServerLiveResponse.FromString(answer).live
        with pytest.raises(grpc.aio.AioRpcError, match="has no model 'c'") as missing:
            await client.call(v2.ModelMetadataRequest(name="c"), f"{service}/ModelMetadata")
        assert missing.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.aio.AioRpcError) as broken:
            await client.call(b"\xff\xff", INFER)
        assert broken.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_grpc_refusal_of_a_node_keeps_its_status() -> None:
    def refuse(_method: str, _request: bytes) -> bytes:
        raise Refusal(grpc.StatusCode.NOT_FOUND, "no such model", ("x-slipway-reason", "NOT_FOUND"))

    node = Node("a", grpc=refuse)
    async with serving(node), spec(node.graph("MODEL")) as client:
        with pytest.raises(grpc.aio.AioRpcError, match="no such model") as refused:
            await grpc_infer(client, message(1, raw=False))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_seldon_paths_are_not_served() -> None:
    async with spec({"name": "a", "type": "MODEL"}, ready=False) as client:
        assert (await client.post(path="/api/v1.0/predictions")).status == 404


def test_kfserving_is_v2() -> None:
    assert PROTOCOLS["kfserving"] == PROTOCOLS["v2"]


async def test_documentation_is_a_page_and_an_openapi_document() -> None:
    async with spec({"name": "a", "type": "MODEL"}, ready=False) as client:
        page = await client.get("/v2/docs/")
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        document = json.loads((await client.get("/v2/docs/dataplane.json")).body)
        assert document["openapi"] == "3.0.3"
        for path, operations in document["paths"].items():
            there = path.replace("{model}", "a").replace("{version}", "1")
            for verb in operations:
                assert (await client.ask(verb.upper(), there)).status in (200, 503), (verb, path)
