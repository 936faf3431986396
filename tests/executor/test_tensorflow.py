"""Graphs of protocol tensorflow with real nodes behind them: behaviours 29 to 31 and 44 of the contract, and chaining."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from slipway.contract.protos import tensor_pb2
from slipway.contract.protos import tensorflow_serving_pb2 as tf
from tests.executor.executors import Executor, executor
from tests.executor.nodes import Node, Reply, serving

FLAGS = ("--protocol", "tensorflow")
PREDICTION = "/tensorflow.serving.PredictionService"
PREDICT = f"{PREDICTION}/Predict"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
REQUEST = b'{ "instances": [[1.0, 2.0]], "signature_name": "s" }'


def spec(graph: dict[str, Any]) -> Any:
    return executor(graph, flags=FLAGS)


def answering(**fields: Any) -> Any:
    return lambda _: Reply(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/models/a:predict", "a"),
        ("/v1/models/a/:predict", "a"),
        ("/v1/models:predict", "a"),
        ("/v1/models/:predict", "a"),
        ("/v1/models/unknown:predict", "unknown"),
        ("/v1/models/unknown/versions/2:predict", "unknown/versions/2"),
    ],
)
async def test_predict_reaches_the_node_untouched(path: str, name: str) -> None:
    node = Node("a", rest=answering(predictions=[[3]]))
    async with serving(node), spec(node.graph("MODEL")) as client:
        answer = await client.post(REQUEST, path)
        metrics = (await client.get("/prometheus")).body
    assert (answer.status, json.loads(answer.body)) == (200, {"predictions": [[3]]})
    (asked,) = node.calls()
    assert (asked.path, asked.body) == (f"/v1/models/{name}:predict", REQUEST)
    assert b'service="/v1/models/a:predict"' in metrics
    assert b"unknown" not in metrics


@pytest.mark.parametrize(
    ("answered", "asked"),
    [
        ({"predictions": [[3]], "more": 1}, {"instances": [[3]], "more": 1}),
        ({"outputs": {"y": [3]}}, {"inputs": {"y": [3]}}),
        ({"instances": [[3]]}, {"instances": [[3]]}),
    ],
)
async def test_predictions_become_instances(answered: dict[str, Any], asked: dict[str, Any]) -> None:
    first, second = Node("a", rest=answering(**answered)), Node("b", rest=answering(predictions=[4]))
    async with serving(first, second), spec(first.graph("MODEL", second.graph("MODEL"))) as client:
        answer = await client.post(REQUEST, "/v1/models/:predict")
    assert json.loads(answer.body) == {"predictions": [4]}
    assert [seen.path for seen in second.calls()] == ["/v1/models/b:predict"]
    assert json.loads(second.calls()[0].body) == asked


@pytest.mark.parametrize("body", [b"{}", b"[1]", b"x"])
async def test_answer_that_cannot_be_asked_on_is_a_clear_500(body: bytes) -> None:
    first, second = Node("a", rest=lambda _: Reply(body)), Node("b")
    async with serving(first, second), spec(first.graph("MODEL", second.graph("MODEL"))) as client:
        answer = await client.post(REQUEST, "/v1/models/:predict")
    assert (answer.status, answer.headers["x-slipway-reason"]) == (500, "CHAIN_INVALID")
    assert list(json.loads(answer.body)) == ["error"]
    assert second.calls() == []


@pytest.mark.parametrize("reply", [{"predictions": [[1]]}, {"data": {"ndarray": [[1]]}}])
async def test_router_and_combiner_have_verbs_of_their_own(reply: dict[str, Any]) -> None:
    router, join = Node("r", rest=answering(**reply)), Node("c", rest=answering(predictions=[9]))
    left, right = Node("a", rest=answering(predictions=[1])), Node("b", rest=answering(predictions=[2]))
    async with serving(router, join, left, right):
        children = (left.graph("MODEL"), right.graph("MODEL"))
        async with spec(join.graph("COMBINER", router.graph("ROUTER", *children), left.graph("MODEL"))) as client:
            answer = await client.post(REQUEST, "/v1/models/:predict")
    assert json.loads(answer.body) == {"predictions": [9]}
    assert [seen.path for seen in router.calls()] == ["/v1/models/r:route"]
    assert [seen.path for seen in join.calls()] == ["/v1/models/c:aggregate"]
    assert json.loads(join.calls()[0].body) == [{"predictions": [2]}, {"predictions": [1]}]


@pytest.mark.parametrize("reply", [{"predictions": []}, {"predictions": ["a"]}, {"predictions": [7]}, {}])
async def test_route_that_names_no_child_is_a_clear_500(reply: dict[str, Any]) -> None:
    router, left = Node("r", rest=answering(**reply)), Node("a")
    async with serving(router, left), spec(router.graph("ROUTER", left.graph("MODEL"))) as client:
        answer = await client.post(REQUEST, "/v1/models/:predict")
    assert (answer.status, answer.headers["x-slipway-reason"]) == (500, "ROUTE_INVALID")


@pytest.mark.parametrize("built_in", ["SIMPLE_MODEL", "AVERAGE_COMBINER"])
async def test_built_ins_without_a_form_in_the_protocol_say_so(built_in: str) -> None:
    node = Node("a", rest=answering(predictions=[1]))
    async with serving(node):
        graph = {"name": "s", "implementation": built_in, "children": [node.graph("MODEL")]}
        async with spec(graph) as client:
            answer = await client.post(REQUEST, "/v1/models/:predict")
    assert (answer.status, answer.headers["x-slipway-reason"]) == (501, "NOT_OFFERED")
    assert built_in in json.loads(answer.body)["error"]


async def test_status_and_metadata_pass_through() -> None:
    node, other = Node("a"), Node("b")
    node.rest = lambda seen: Reply(json.dumps({"path": seen.path}).encode())
    async with serving(node, other), spec(node.graph("MODEL", other.graph("MODEL"))) as client:
        for path in ("/v1/models/a", "/v1/models/a/metadata", "/v1/models/a/versions/2"):
            answer = await client.get(path)
            assert (answer.status, json.loads(answer.body)) == (200, {"path": path})
        missing = await client.get("/v1/models/c")
        assert (missing.status, list(json.loads(missing.body))) == (404, ["error"])


async def test_feedback_is_given_back() -> None:
    node = Node("a")
    async with serving(node), spec(node.graph("MODEL")) as client:
        answer = await client.post(b'{"reward":1}', "/api/v1.0/feedback")
    assert (answer.status, answer.body, node.calls()) == (200, b'{"reward":1}', [])


def request(*values: float, name: str = "") -> tf.PredictRequest:
    asked = tf.PredictRequest(model_spec=tf.ModelSpec(name=name, signature_name="s"), output_filter=["y"])
    asked.inputs["x"].CopyFrom(tensor(*values))
    return asked


def tensor(*values: float) -> tensor_pb2.TensorProto:
    shape = tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=len(values))])
    return tensor_pb2.TensorProto(dtype="DT_FLOAT", tensor_shape=shape, float_val=values)


def adding(amount: float) -> Any:
    """A gRPC node that adds to every number of every input."""

    def behave(_method: str, raw: bytes) -> bytes:
        asked = tf.PredictRequest.FromString(raw)
        answer = tf.PredictResponse(model_spec=tf.ModelSpec(name=asked.model_spec.name))
        for name, given in asked.inputs.items():
            answer.outputs[name].CopyFrom(tensor(*(value + amount for value in given.float_val)))
        return answer.SerializeToString()

    return behave


async def predict(client: Executor, asked: tf.PredictRequest, **options: Any) -> list[float]:
    body, _ = await client.call(asked, PREDICT, **options)
    return list(tf.PredictResponse.FromString(body).outputs["x"].float_val)


async def test_grpc_predict_goes_through_a_chain() -> None:
    first, second = Node("a", grpc=adding(10)), Node("b", grpc=adding(100))
    async with serving(first, second), spec(first.graph("MODEL", second.graph("MODEL"))) as client:
        assert await predict(client, request(1, 2), metadata=(("my-key", "1"),)) == [111, 112]
    asked = [tf.PredictRequest.FromString(node.grpc_seen[0][2]) for node in (first, second)]
    assert [one.model_spec.name for one in asked] == ["a", "b"]
    assert (asked[0].model_spec.signature_name, list(asked[0].output_filter)) == ("s", ["y"])
    assert [node.grpc_seen[0][1]["my-key"] for node in (first, second)] == ["1", "1"]
    assert [node.grpc_seen[0][0] for node in (first, second)] == [PREDICT, PREDICT]


async def test_grpc_name_that_is_no_node_s_is_asked_of_every_node() -> None:
    first, second = Node("a", grpc=adding(1)), Node("b", grpc=adding(1))
    async with serving(first, second), spec(first.graph("MODEL", second.graph("MODEL"))) as client:
        await predict(client, request(1, name="other"))
    asked = [tf.PredictRequest.FromString(node.grpc_seen[0][2]).model_spec.name for node in (first, second)]
    assert asked == ["other", "other"]


async def test_grpc_status_and_metadata_pass_as_bytes() -> None:
    status = tf.GetModelStatusResponse(model_version_status=[{"version": 1, "state": "AVAILABLE"}]).SerializeToString()
    metadata = tf.GetModelMetadataResponse(model_spec=tf.ModelSpec(name="a")).SerializeToString()
    node, other = Node("a"), Node("b")
    node.grpc = lambda method, _: status if method == STATUS else metadata
    spec_of_a = tf.ModelSpec(name="a")
    async with serving(node, other), spec(node.graph("MODEL", other.graph("MODEL"))) as client:
        assert (await client.call(tf.GetModelStatusRequest(model_spec=spec_of_a), STATUS))[0] == status
        asked = tf.GetModelMetadataRequest(model_spec=spec_of_a, metadata_field=["signature_def"])
        assert (await client.call(asked, f"{PREDICTION}/GetModelMetadata"))[0] == metadata
        assert node.grpc_seen[-1][2] == asked.SerializeToString()
        with pytest.raises(grpc.aio.AioRpcError, match="has no model 'c'") as missing:
            await client.call(tf.GetModelStatusRequest(model_spec=tf.ModelSpec(name="c")), STATUS)
        assert missing.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("method", ["Classify", "Regress", "MultiInference"])
async def test_grpc_calls_of_one_node_pass_as_bytes(method: str) -> None:
    node, other = Node("a", grpc=lambda _, asked: asked + b"!"), Node("b")
    async with serving(node, other):
        async with spec(node.graph("MODEL")) as client:
            assert (await client.call(b"bytes", f"{PREDICTION}/{method}"))[0] == b"bytes!"
            assert node.grpc_seen[-1][0] == f"{PREDICTION}/{method}"
        async with spec(node.graph("MODEL", other.graph("MODEL"))) as client:
            with pytest.raises(grpc.aio.AioRpcError, match="needs a graph of one node") as refused:
                await client.call(b"bytes", f"{PREDICTION}/{method}")
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("kind", ["ROUTER", "COMBINER"])
async def test_grpc_routers_and_combiners_are_refused_in_words(kind: str) -> None:
    top, node = Node("r", grpc=adding(1)), Node("a", grpc=adding(1))
    async with serving(top, node), spec(top.graph(kind, node.graph("MODEL"))) as client:
        with pytest.raises(grpc.aio.AioRpcError, match="no gRPC method in protocol tensorflow") as refused:
            await predict(client, request(1))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_grpc_bytes_that_are_no_request_are_refused() -> None:
    node = Node("a")
    async with serving(node), spec(node.graph("MODEL")) as client:
        for method in (PREDICT, STATUS, f"{PREDICTION}/GetModelMetadata"):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await client.call(b"\xff\xff", method)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert node.grpc_seen == []
