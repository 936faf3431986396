"""Hooks of a component in the V2 protocol: raw ones, those of graphs, and predict_named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from slipway.contract.protos import inference_pb2 as v2
from slipway.contract.protos import prediction_pb2 as pb
from slipway.serving.v2_messages import InferRequest, RequestedOutput
from slipway.serving.v2_tensors import Tensor, objects
from tests.microservice.conftest import Serve
from tests.microservice.inferences import WIRES, M, Model, numbers, over, over_grpc, over_rest, text
from tests.serving.v2_strategies import assert_same


class Raw:
    """Adds two tensors, whatever form the request has."""

    def predict_raw(self, msg):
        if isinstance(msg, v2.ModelInferRequest):
            total = sum(sum(tensor.contents.int64_contents) for tensor in msg.inputs)
            output = {"name": "sum", "datatype": "INT64", "shape": [1], "contents": {"int64_contents": [total]}}
            return v2.ModelInferResponse(outputs=[output])
        total = sum(sum(tensor["data"]) for tensor in msg["inputs"])
        return {
            "outputs": [{"name": "sum", "datatype": "INT64", "shape": [1], "data": [total]}],
            "parameters": {"p": 1},
        }


@WIRES
async def test_raw_hook_gets_the_request_as_it_came(serve: Serve, wire):
    served = await serve(Raw(), identity=M)
    inputs = (numbers([1, 2], dtype="i8", name="a"), numbers([30], dtype="i8", name="b"))
    answer = await over(wire, served, InferRequest(inputs, id="9"))
    assert (answer.id, answer.outputs[0].name, answer.outputs[0].array.tolist()) == ("9", "sum", [33])


@pytest.mark.parametrize(
    ("raw", "datatype", "data"),
    [
        ({"data": {"ndarray": [[1, 2]]}, "meta": {"tags": {"t": 1}}}, "INT64", [[1, 2]]),
        ({"strData": "a"}, "BYTES", [b"a"]),
        (pb.SeldonMessage(data=pb.DefaultData(tensor=pb.Tensor(shape=[1], values=[2]))), "FP64", [2.0]),
    ],
)
async def test_raw_hook_may_answer_in_the_seldon_protocol(serve: Serve, raw, datatype, data):
    class Seldon:
        def predict_raw(self, _msg):
            return raw

    served = await serve(Seldon(), identity=M)
    answer, _ = await over_rest(served, InferRequest((numbers(),)))
    assert (answer.outputs[0].datatype, answer.outputs[0].array.tolist()) == (datatype, data)


async def test_raw_reply_that_is_nothing_is_the_component_s_fault(serve: Serve):
    class Wrong:
        def predict_raw(self, _msg):
            return {"outputs": [{"name": "y"}]}

    answer, headers = await over_rest(await serve(Wrong(), identity=M), InferRequest((numbers(),)))
    assert answer[0] == 500
    assert headers["x-slipway-reason"] == "MICROSERVICE_INTERNAL_ERROR"


class Everything:
    def predict(self, X, names, meta=None):
        return X + 1

    def transform_input(self, X, names, meta=None):
        return X + 10

    def transform_output(self, X, names, meta=None):
        return X + 100

    def route(self, X, names, meta=None):
        return int(X.sum())

    def aggregate(self, features, names):
        return sum(features)


@pytest.mark.parametrize("hook", ["predict", "transform_input", "transform_output"])
async def test_header_says_which_hook_an_inference_is_for(serve: Serve, hook):
    served = await serve(Everything(), identity=M)
    request = InferRequest((numbers([0], dtype="i8"),))
    added = {"predict": 1, "transform_input": 10, "transform_output": 100}[hook]
    rest, _ = await over_rest(served, request, headers={"x-slipway-hook": hook})
    rpc = await over_grpc(served, request, metadata=(("x-slipway-hook", hook),))
    name = "output-0" if hook == "predict" else "x"
    for answer in (rest, rpc):
        assert (answer.outputs[0].name, answer.outputs[0].array.tolist()) == (name, [added])


async def test_hook_that_is_none_is_refused(serve: Serve):
    answer, _ = await over_rest(
        await serve(Everything(), identity=M), InferRequest((numbers(),)), headers={"x-slipway-hook": "load"}
    )
    assert answer[0] == 400
    assert "predict, transform_input" in answer[1]["error"]


async def test_transformer_without_the_hook_passes_tensors_on(serve: Serve):
    served = await serve(Model(), identity=M)
    request = InferRequest((numbers([[1, 2]], name="a", k=1), text(b"\xff")), id="3", parameters={"p": 1})
    answer, _ = await over_rest(served, request, binary=True, headers={"x-slipway-hook": "transform_input"})
    assert (answer.id, answer.parameters) == ("3", {"p": 1})
    for one, other in zip(answer.outputs, request.inputs, strict=True):
        assert_same(one, other)


async def test_router_answers_its_route(serve: Serve):
    served = await serve(Everything(), identity=M)
    request = InferRequest((numbers([1, 2], dtype="i8"),))
    rest, _ = await over_rest(served, request, path="/v2/models/m/route")
    rpc = await over_grpc(served, request, metadata=(("x-slipway-hook", "route"),))
    for answer in (rest, rpc):
        assert answer.outputs[0].array.tolist() == [[3]]


async def test_combiner_gets_every_child_s_answer(serve: Serve):
    served = await serve(Everything(), identity=M)
    child = {
        "model_name": "a",
        "id": "4",
        "outputs": [{"name": "y", "datatype": "INT64", "shape": [2], "data": [1, 2]}],
    }
    status, answer = await served.post("/v2/models/m/aggregate", [child, child])
    assert (status, answer["outputs"][0]["data"], answer["id"]) == (200, [2, 4], "4")
    joined = InferRequest(tuple(numbers([1, 2], dtype="i8", name="y", slipway_child=child) for child in (0, 1)))
    rpc = await over_grpc(served, joined, metadata=(("x-slipway-hook", "aggregate"),))
    assert rpc.outputs[0].array.tolist() == [2, 4]
    assert (await served.post("/v2/models/m/aggregate", {"outputs": []}))[0] == 400
    assert (await served.post("/v2/models/m/aggregate", []))[0] == 400


class Named:
    """Answers what ``answer`` makes of the named arrays, and remembers what it was given."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.seen = answer, []

    def predict_named(self, tensors, names, outputs, meta):
        self.seen.append((tensors, list(names), list(outputs), meta))
        return self.answer(tensors)

    def predict(self, X, names, meta=None):
        return X

    def tags(self):
        return {"by": "named"}


@WIRES
async def test_predict_named_gets_every_tensor_by_name_and_names_its_results(serve: Serve, wire):
    model = Named(lambda given: {"sum": given["a"].sum(keepdims=True), "kinds": [str(given["b"].dtype)]})
    served = await serve(model, identity=M)
    tensors = (numbers([[1, 2]], name="a"), Tensor("b", "BYTES", objects([b"x", b"y"], [2])))
    request = InferRequest(tensors, id="7", outputs=(RequestedOutput("sum"),))
    answer = await over(wire, served, request)
    given, _, outputs, meta = model.seen[0]
    assert (given["a"].tolist(), given["b"].tolist(), outputs) == ([[1.0, 2.0]], [b"x", b"y"], ["sum"])
    assert (meta["puid"], answer.id, answer.parameters["by"]) == ("7", "7", "named")
    assert [(one.name, one.datatype, one.array.tolist()) for one in answer.outputs] == [
        ("sum", "FP32", [[3.0]]),
        ("kinds", "BYTES", [b"object"]),
    ]


async def test_predict_named_gets_columns_and_decoded_elements(serve: Serve):
    model = Named(lambda given: {"n": np.array([len(given)])})
    served = await serve(model, identity=M)
    await over_grpc(served, InferRequest((numbers([[1, 2]], names='["a","b"]'),)))
    assert model.seen[0][1] == ["a", "b"]
    request = InferRequest(
        (text(b"t", content_type="str"), Tensor("j", "BYTES", objects([b'{"k":1}'], [1]), {"content_type": "json"}))
    )
    await over_grpc(served, request)
    given = model.seen[1][0]
    assert (given["x"].tolist(), given["j"].tolist()) == (["t"], [{"k": 1}])


async def test_predict_named_that_says_not_implemented_leaves_it_to_predict(serve: Serve):
    class SeldonNotImplementedError(Exception):
        pass

    def refuse(_given: Any) -> Any:
        raise SeldonNotImplementedError

    served = await serve(Named(refuse), identity=M)
    answer = await over_grpc(served, InferRequest((numbers([1, 2]),)))
    assert answer.outputs[0].array.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("result", [[1.0], {}, None])
async def test_predict_named_without_named_results_is_the_components_mistake(serve: Serve, result):
    served = await serve(Named(lambda _given: result), identity=M)
    answer, _ = await over_rest(served, InferRequest((numbers([1, 2]),)))
    assert answer[0] == 500
    assert "a dict of name and result is expected" in answer[1]["error"]


async def test_output_that_predict_named_did_not_give_is_refused(serve: Serve):
    served = await serve(Named(lambda _given: {"y": np.zeros(1)}), identity=M)
    answer, _ = await over_rest(served, InferRequest((numbers([1]),), outputs=(RequestedOutput("z"),)))
    assert answer[0] == 400
    assert "output 'z' is none of the model's: y" in answer[1]["error"]
