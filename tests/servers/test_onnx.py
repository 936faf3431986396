"""ONNX_SERVER on graphs made here: named inputs and outputs over both protocols."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import onnx
import pytest
from onnx import TensorProto, helper

from slipway.servers.errors import ModelFolderError
from slipway.servers.onnx import OnnxServer
from slipway.serving.v2_messages import InferRequest, RequestedOutput
from tests.servers.conftest import ServeModel, infer, ndarray, predict_grpc, refused, tensor

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
Value = tuple[str, int, Sequence[Any]]


def written(folder: Path, nodes: Sequence[onnx.NodeProto], inputs: Sequence[Value], outputs: Sequence[Value]) -> Path:
    values = [[helper.make_tensor_value_info(*value) for value in side] for side in (inputs, outputs)]
    model = helper.make_model(helper.make_graph(nodes, "g", *values), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, folder / "model.onnx")
    return folder


@pytest.fixture
def doubling(tmp_path: Path) -> Path:
    """``y = x + x`` over rows of two."""
    return written(
        tmp_path, [helper.make_node("Add", ["x", "x"], ["y"])], [("x", FLOAT, ["n", 2])], [("y", FLOAT, ["n", 2])]
    )


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """``sum = a + b`` and ``product = a * b`` over columns."""
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Mul", ["a", "b"], ["product"])]
    column = (FLOAT, ["n", 1])
    return written(tmp_path, nodes, [("a", *column), ("b", *column)], [("sum", *column), ("product", *column)])


async def test_one_input_is_x_over_every_wire(serve_model: ServeModel, doubling):
    served = await serve_model(OnnxServer(f"file://{doubling}"))
    status, answer = await served.post("/predict", ndarray([[1, 2.5]]))
    assert (status, answer["data"]["ndarray"]) == (200, [[2.0, 5.0]])
    assert list((await predict_grpc(served, [[1, 2.5]])).data.tensor.values) == [2.0, 5.0]
    for dtype, name in (("f4", "x"), ("f8", "any"), ("i8", "x")):
        (output,) = (await infer(served, InferRequest((tensor(name, [[1, 2]], dtype),)))).outputs
        assert (output.name, output.datatype, output.array.tolist()) == ("y", "FP32", [[2.0, 4.0]])


async def test_metadata_has_names_types_and_shapes(serve_model: ServeModel, doubling):
    _, told = await (await serve_model(OnnxServer(str(doubling)))).get("/v2/models/clf")
    assert told["platform"] == "onnxruntime_onnx"
    assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    assert told["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]


async def test_named_inputs_give_named_outputs(serve_model: ServeModel, pair):
    served = await serve_model(OnnxServer(str(pair)))
    tensors = (tensor("b", [[3]], "f4"), tensor("a", [[2]], "f4"))
    answer = await infer(served, InferRequest(tensors, id="7"))
    assert {one.name: one.array.tolist() for one in answer.outputs} == {"sum": [[5.0]], "product": [[6.0]]}
    assert answer.id == "7"
    answer = await infer(served, InferRequest(tensors, outputs=(RequestedOutput("product"),)))
    assert [one.name for one in answer.outputs] == ["product"]
    status, said = await served.post("/predict", {"jsonData": {"a": [[2]], "b": [[3]]}})
    assert (status, said["jsonData"]) == (200, {"sum": [[5.0]], "product": [[6.0]]})
    _, said = await served.post("/predict", ndarray([[3, 2], [5, 4]], ["b", "a"]))
    assert said["jsonData"] == {"sum": [[5.0], [9.0]], "product": [[6.0], [20.0]]}


async def test_parameter_output_chooses_the_answer_of_the_seldon_protocol(serve_model: ServeModel, pair):
    served = await serve_model(OnnxServer(str(pair), output="product"))
    _, said = await served.post("/predict", ndarray([[3, 2]], ["b", "a"]))
    assert said["data"]["ndarray"] == [[6.0]]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (ndarray([[1, 2]]), "send jsonData with each by its name"),
        ({"jsonData": {"a": [[1]], "c": [[1]]}}, "inputs a, c: the model takes a, b"),
        ({"jsonData": {"a": [[1, 2]], "b": [[1]]}}, "input 'a' has shape [n, 1], found [1, 2]"),
        ({"jsonData": {"a": [["x"]], "b": [[1]]}}, "input 'a' is tensor(float), found <U1"),
        ({"jsonData": {"a": {"x": 1}, "b": [[1]]}}, "found dict"),
        ({"jsonData": {"a": [[1], [1, 2]], "b": [[1]]}}, "rows of different lengths"),
    ],
)
async def test_input_of_another_form_is_the_callers_mistake(serve_model: ServeModel, pair, body, text):
    status, reason, info = await refused(await serve_model(OnnxServer(str(pair))), body)
    assert (status, reason) == (400, "INPUT_MISMATCH")
    assert text in info


async def test_output_that_is_not_there_names_those_that_are(serve_model: ServeModel, doubling):
    served = await serve_model(OnnxServer(str(doubling)))
    asked = InferRequest((tensor("x", [[1, 2]]),), outputs=(RequestedOutput("z"),))
    with pytest.raises(grpc.aio.AioRpcError, match="output 'z' is none of the model's: y"):
        await infer(served, asked)


async def test_whole_numbers_come_as_floats_and_must_be_whole(serve_model: ServeModel, tmp_path):
    folder = written(tmp_path, [helper.make_node("Neg", ["k"], ["m"])], [("k", INT64, ["n"])], [("m", INT64, ["n"])])
    served = await serve_model(OnnxServer(str(folder)))
    assert list((await predict_grpc(served, [3.0, 4.0])).data.tensor.values) == [-3.0, -4.0]
    for wrong in ([1.5], [1e19]):
        status, reason, info = await refused(served, ndarray(wrong))
        assert (status, reason) == (400, "INPUT_MISMATCH")
        assert "not whole, or too large" in info


async def test_texts_go_in_and_out(serve_model: ServeModel, tmp_path):
    folder = written(
        tmp_path, [helper.make_node("Identity", ["t"], ["u"])], [("t", STRING, ["n"])], [("u", STRING, ["n"])]
    )
    served = await serve_model(OnnxServer(str(folder)))
    _, said = await served.post("/predict", ndarray(["a", "ü"]))
    assert said["data"]["ndarray"] == ["a", "ü"]
    (output,) = (await infer(served, InferRequest((tensor("t", [b"a", b"b"], "O"),)))).outputs
    assert output.array.tolist() == [b"a", b"b"]


async def test_what_the_graph_raises_is_500_with_its_words(serve_model: ServeModel, tmp_path):
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    inputs = [("x", FLOAT, ["n"]), ("shape", INT64, [1])]
    served = await serve_model(OnnxServer(str(written(tmp_path, [node], inputs, [("y", FLOAT, None)]))))
    status, reason, info = await refused(served, {"jsonData": {"x": [1, 2, 3], "shape": [2]}})
    assert (status, reason) == (500, "MODEL_FAILED")
    assert "the model raised" in info


def test_graph_that_does_not_open_and_unknown_output_stop_the_start(tmp_path, doubling):
    with pytest.raises(ModelFolderError, match="parameter output: 'z' is not one of y"):
        OnnxServer(str(doubling), output="z").load()
    (doubling / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelFolderError, match="cannot open it"):
        OnnxServer(str(doubling)).load()
