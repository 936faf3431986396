"""A component class over the Open Inference Protocol: the same hooks as over the seldon protocol, both wires."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import given, settings

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import inference_pb2 as v2
from slipway.microservice.component import component_of
from slipway.microservice.custom_metrics import CustomMetrics
from slipway.microservice.hooks import Hooks
from slipway.microservice.v2_calls import ServedModel, call_v2
from slipway.serving.v2_messages import InferRequest
from slipway.serving.v2_proto import render_infer_request_proto
from slipway.serving.v2_tensors import Tensor
from tests.microservice.conftest import Serve, Served
from tests.microservice.inferences import INFER, WIRES, M, Model, numbers, over, over_grpc, over_rest, text
from tests.serving.v2_strategies import REQUESTS, assert_same


@WIRES
async def test_one_tensor_is_x_with_names_and_meta(serve: Serve, wire):
    model = Model(np.array([[0.5]], dtype="f4"))
    served = await serve(model, identity=M)
    request = InferRequest((numbers([[1, 2]], names='["a","b"]'),), id="7", parameters={"k": "v", "n": 3})
    answer = await over(wire, served, request)
    features, names, meta = model.seen[0]
    assert (features.dtype, features.tolist(), names) == (np.float32, [[1.0, 2.0]], ["a", "b"])
    assert meta == {"tags": {"k": "v", "n": 3}, "puid": "7"}
    assert (answer.id, answer.model_name, answer.model_version) == ("7", "m", "0.1")
    assert answer.parameters == {"k": "v", "n": 3}
    assert_same(answer.outputs[0], Tensor("output-0", "FP32", np.array([[0.5]], dtype="f4")))


class InPlace:
    def predict(self, X, names, meta=None):
        np.subtract(X, 1, out=X)
        return X


@WIRES
async def test_x_may_be_changed_in_place(serve: Serve, wire):
    answer = await over(wire, await serve(InPlace(), identity=M), InferRequest((numbers([2, 3]),)))
    assert_same(answer.outputs[0], Tensor("output-0", "FP32", np.array([1, 2], dtype="f4")))


@pytest.mark.parametrize("wire", ["json", "grpc"])
@pytest.mark.parametrize("names", ["[" * 100_000, "{", '"\\ud800"', "1"])
async def test_names_that_are_no_list_are_the_clients_mistake(serve: Serve, wire, names):
    served, request = await serve(Model(), identity=M), InferRequest((numbers(names=names),))
    if wire == "json":
        assert (await over_rest(served, request))[0][0] == 400
    else:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await over_grpc(served, request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@WIRES
async def test_columns_are_the_columns_of_x(serve: Serve, wire):
    model = Model()
    served = await serve(model, identity=M)
    columns = (numbers([1, 2], name="a"), numbers([[3], [4]], dtype="i8", name="b"))
    await over(wire, served, InferRequest(columns))
    features, names, _ = model.seen[0]
    assert (features.tolist(), names) == ([[1.0, 3.0], [2.0, 4.0]], ["a", "b"])


@pytest.mark.parametrize("wire", ["json", "grpc"])
async def test_several_tensors_that_are_no_columns_need_a_raw_hook(serve: Serve, wire):
    served = await serve(Model(), identity=M)
    request = InferRequest((numbers([[1, 2]], name="a"), numbers([1], name="b")))
    if wire == "json":
        answer, headers = await over_rest(served, request)
        assert answer[0] == 400
        assert "predict_raw" in answer[1]["error"]
        assert headers["x-slipway-reason"] == "MICROSERVICE_BAD_DATA"
    else:
        with pytest.raises(grpc.aio.AioRpcError, match="predict_raw") as refused:
            await over_grpc(served, request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("tensor", "given"),
    [
        (text(b"\xff\xd8"), b"\xff\xd8"),
        (text("é".encode(), content_type="str"), "é"),
        (text(b'{"a": [1]}', content_type="json"), {"a": [1]}),
    ],
)
@WIRES
async def test_one_element_of_bytes_is_itself(serve: Serve, wire, tensor, given):
    model = Model()
    served = await serve(model, identity=M)
    answer = await over(wire, served, InferRequest((tensor,)))
    assert model.seen[0][0] == given
    assert answer.outputs[0].parameters == tensor.parameters
    assert (answer.outputs[0].datatype, answer.outputs[0].shape) == ("BYTES", (1,))
    if given != {"a": [1]}:
        assert answer.outputs[0].array.tolist() == tensor.array.tolist()


async def test_several_elements_of_bytes_are_an_array(serve: Serve):
    model = Model()
    served = await serve(model, identity=M)
    await over_grpc(served, InferRequest((text(b"a", b"\xff"),)))
    await over_grpc(served, InferRequest((text(b"a", b"b", content_type="str"),)))
    assert [seen[0].tolist() for seen in model.seen] == [[b"a", b"\xff"], ["a", "b"]]


@pytest.mark.parametrize(
    ("result", "datatype", "data", "parameters"),
    [
        ([[1, 2]], "INT64", [[1, 2]], {}),
        ([0.5], "FP64", [0.5], {}),
        (np.array([True]), "BOOL", [True], {}),
        (np.float16([1.5]), "FP16", [1.5], {}),
        ("text", "BYTES", [b"text"], {"content_type": "str"}),
        (b"\xff", "BYTES", [b"\xff"], {}),
        ({"a": 1}, "BYTES", [b'{"a":1}'], {"content_type": "json"}),
        (np.array(["a", "bc"]), "BYTES", [b"a", b"bc"], {"content_type": "str"}),
    ],
)
@WIRES
async def test_every_result_has_a_datatype(serve: Serve, wire, result, datatype, data, parameters):
    served = await serve(Model(result), identity=M)
    (output,) = (await over(wire, served, InferRequest((numbers(),)))).outputs
    assert (output.datatype, output.array.tolist(), output.parameters) == (datatype, data, parameters)


class Echo:
    def transform_output(self, X, names, meta=None):
        return X


@given(REQUESTS)
@settings(deadline=None)
def test_what_a_component_gives_back_as_it_came_is_the_same_to_the_bit(request_):
    hooks = Hooks(component_of(Echo()), CustomMetrics(M), M)
    one = InferRequest(request_.inputs[:1], request_.id, request_.parameters)
    answer, _ = call_v2(hooks, "transform_output", [one], raw=dict, is_proto=False, model=ServedModel(("m",)))
    assert (answer.id, answer.parameters) == (one.id, one.parameters)
    assert_same(answer.outputs[0], one.inputs[0])


async def test_class_names_and_tags_are_parameters(serve: Serve):
    class Named(Model):
        def class_names(self):
            return ["cat", "dog"]

        def tags(self):
            return {"mine": 1.5, "list": [1], "none": None}

    served = await serve(Named(np.array([[1.0, 2.0]])), identity=M)
    answer, _ = await over_rest(served, InferRequest((numbers(),), parameters={"theirs": True}))
    assert answer.outputs[0].parameters == {"names": '["cat","dog"]'}
    assert answer.parameters == {"theirs": True, "mine": 1.5, "list": "[1]"}


async def test_answers_go_in_the_form_that_was_asked_for(serve: Serve):
    served = await serve(Model(np.arange(3)), identity=M)
    sent = {"inputs": [{"name": "x", "datatype": "INT32", "shape": [1], "data": [1]}]}
    for more, size in (
        ({}, None),
        ({"parameters": {"binary_data_output": True}}, 24),
        ({"parameters": {"binary_data_output": True}, "outputs": [{"name": "y", "parameters": {"binary_data": False}}]}, None),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": True}}]}, 24),
    ):  # fmt: skip
        async with served.session.post(served.url + INFER, json={**sent, **more}) as response:
            body, length = await response.read(), response.headers.get("Inference-Header-Content-Length")
        entry = json.loads(body[: int(length)] if length else body)["outputs"][0]
        assert entry.get("parameters", {}).get("binary_data_size") == size
        assert ("data" in entry) == (size is None)


async def test_unknown_output_is_refused_with_the_names(serve: Serve):
    class Declared(Model):
        def init_metadata(self):
            return {"outputs": [{"name": "scores", "datatype": "FP64", "shape": [-1]}]}

    served = await serve(Declared([1.0]), identity=M)
    sent = {"inputs": [{"name": "x", "datatype": "INT32", "shape": [1], "data": [1]}], "outputs": [{"name": "y"}]}
    status, answer = await served.post(INFER, sent)
    assert (status, answer) == (400, {"error": "output 'y' is none of the model's: scores"})


async def test_server_and_model_answer_questions_over_rest(serve: Serve):
    class Described(Model):
        def init_metadata(self):
            return {
                "name": "digits", "versions": ["3"], "platform": "custom",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}, {"messagetype": "strData"}],
                "outputs": [{"name": "y", "datatype": "INT64", "shape": [1]}],
            }  # fmt: skip

    served = await serve(Described(), identity=M)
    assert (await served.get("/v2"))[1]["extensions"] == ["binary_tensor_data"]
    assert await served.get("/v2/health/live") == (200, {"live": True})
    assert await served.get("/v2/health/ready") == (200, {"ready": True})
    for path in ("/v2/models/m", "/v2/models/digits", "/v2/models/m/versions/3"):
        assert await served.get(path) == (200, {
            "name": "m", "versions": ["3"], "platform": "custom",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
            "outputs": [{"name": "y", "datatype": "INT64", "shape": [1]}],
        })  # fmt: skip
        assert await served.get(f"{path}/ready") == (200, {"name": "m", "ready": True})
    served.lifecycle.start_draining()
    assert await served.get("/v2/health/ready") == (503, {"ready": False})
    assert (await served.get("/v2/models/m/ready"))[0] == 503
    assert await served.get("/v2/health/live") == (200, {"live": True})


async def ask(served: Served, method: str, request: Any, answer: Any) -> Any:
    call = served.channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
    return answer.FromString(await call(request.SerializeToString()))


async def test_server_and_model_answer_questions_over_grpc(serve: Serve):
    served = await serve(Model(), identity=M)
    assert (await ask(served, "ServerLive", v2.ServerLiveRequest(), v2.ServerLiveResponse)).live
    assert (await ask(served, "ServerReady", v2.ServerReadyRequest(), v2.ServerReadyResponse)).ready
    told = await ask(served, "ServerMetadata", v2.ServerMetadataRequest(), v2.ServerMetadataResponse)
    assert list(told.extensions) == ["binary_tensor_data"]
    assert (await ask(served, "ModelReady", v2.ModelReadyRequest(name="m"), v2.ModelReadyResponse)).ready
    told = await ask(served, "ModelMetadata", v2.ModelMetadataRequest(name="m"), v2.ModelMetadataResponse)
    assert (told.name, list(told.versions)) == ("m", ["0.1"])
    for method, request in (("ModelReady", v2.ModelReadyRequest(name="n")), ("ModelMetadata", v2.ModelMetadataRequest(name="n"))):  # fmt: skip
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(served, method, request, v2.ModelReadyResponse)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_model_is_not_ready_while_its_health_hook_raises(serve: Serve):
    class Ill(Model):
        def health_status(self):
            raise RuntimeError("no model in memory")

    served = await serve(Ill(), identity=M)
    assert await served.get("/v2/models/m/ready") == (500, {"error": "no model in memory"})


@pytest.mark.parametrize("path", ["/v2/models/n/infer", "/v2/models/m/versions/9/infer", "/v2/x", "/v2/models/m/x"])
async def test_what_is_not_here_is_404_in_the_protocol_s_form(serve: Serve, path):
    status, answer = await (await serve(Model(), identity=M)).post(path, {})
    assert status == 404
    assert list(answer) == ["error"]


async def test_errors_of_hooks_keep_status_and_reason(serve: Serve):
    class Refusing:
        def predict(self, X, names):
            error = ValueError("too dark")
            error.status_code, error.reason = 422, "TOO_DARK"
            raise error

    served = await serve(Refusing(), identity=M)
    answer, headers = await over_rest(served, InferRequest((numbers(),)))
    assert (answer, headers["x-slipway-reason"]) == ((422, {"error": "too dark"}), "TOO_DARK")
    with pytest.raises(grpc.aio.AioRpcError, match="too dark") as refused:
        await over_grpc(served, InferRequest((numbers(),)))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(refused.value.trailing_metadata())["x-slipway-reason"] == "TOO_DARK"


async def test_bodies_above_the_limit_are_413(serve: Serve):
    served = await serve(Model(), identity=M)
    async with served.session.post(served.url + INFER, data=io.BytesIO(bytes(MAX_BODY_BYTES + 1))) as response:
        assert (response.status, list(await response.json())) == (413, ["error"])


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 30, "٣"])
async def test_length_header_that_is_none_is_400(serve: Serve, length):
    served = await serve(Model(), identity=M)
    headers = {"Inference-Header-Content-Length": length}
    async with served.session.post(served.url + INFER, data=b"{}", headers=headers) as response:
        assert response.status == 400


async def test_reflection_knows_the_service_whose_protobufs_have_a_pool_of_their_own(serve: Serve):
    served = await serve(Model(), identity=M)
    stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
    requests = [
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        for symbol in ("inference.GRPCInferenceService", "seldon.protos.Model", "inference.Nothing")
    ]
    answers = [answer async for answer in stub.ServerReflectionInfo(iter(requests))]
    kinds = [answer.WhichOneof("message_response") for answer in answers]
    assert kinds == ["file_descriptor_response", "file_descriptor_response", "error_response"]


async def test_any_bytes_over_grpc_are_refused_and_the_server_goes_on(serve: Serve):
    served = await serve(Model(), identity=M)
    call = served.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    right = render_infer_request_proto(InferRequest((numbers(), text(b"abc")), is_raw=True)).SerializeToString()
    dice = random.Random(1)
    for _ in range(200):
        broken = bytearray(right)
        for _ in range(dice.randrange(1, 8)):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        try:
            await call(bytes(broken))
        except grpc.aio.AioRpcError as refused:
            assert refused.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND), refused.details()
    assert (await over_grpc(served, InferRequest((numbers(),)))).outputs[0].array.tolist() == [1, 2]


async def test_documentation_is_a_page_and_an_openapi_document(serve: Serve):
    served = await serve(Model(), identity=M)
    async with served.session.get(f"{served.url}/v2/docs/") as response:
        page = await response.text()
    assert response.content_type == "text/html"
    assert "/v2/models/{model}/infer" in page
    assert "dataplane.json" in page
    status, document = await served.get("/v2/docs/dataplane.json")
    assert (status, document["openapi"]) == (200, "3.0.3")
    for path, operations in document["paths"].items():
        for verb in operations:
            there = path.replace("{model}", "m").replace("{version}", "0.1")
            async with served.session.request(verb, served.url + there, data=b"{}") as response:
                assert response.status == (400 if verb == "post" else 200), (verb, path)
