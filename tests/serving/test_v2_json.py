"""V2 inferences in JSON, with binary tensors behind it, and as protobuf: each into the other, and what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slipway.contract.protos import inference_pb2 as v2
from slipway.serving.errors import ServingError
from slipway.serving.messages import parse_message
from slipway.serving.v2_json import (
    V2Body,
    parse_infer_request,
    parse_infer_response,
    render_infer_request,
    render_infer_response,
)
from slipway.serving.v2_messages import MAX_TENSORS, InferRequest
from slipway.serving.v2_proto import (
    CONTENTS,
    parse_infer_request_proto,
    parse_infer_response_proto,
    render_infer_request_proto,
    render_infer_response_proto,
)
from slipway.serving.v2_tensors import Tensor
from tests.data import REPOSITORY
from tests.serving.v2_strategies import REQUESTS, RESPONSES, assert_same


def tensor(**fields: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2], **fields}


def body(*inputs: Any, **fields: Any) -> V2Body:
    return V2Body(json.dumps({"inputs": list(inputs), **fields}).encode())


@given(REQUESTS)
@settings(deadline=None)
def test_request_is_the_same_after_json_binary_and_protobuf(request_):
    as_json = parse_infer_request(render_infer_request(request_, binary=lambda _: False))
    as_binary = parse_infer_request(render_infer_request(as_json, binary=lambda _: True))
    typed = parse_infer_request_proto(_sent(render_infer_request_proto(_with(as_binary, is_raw=False))))
    raw = parse_infer_request_proto(_sent(render_infer_request_proto(_with(typed, is_raw=True))))
    for found in (as_json, as_binary, typed, raw):
        assert (found.id, found.parameters) == (request_.id, request_.parameters)
        for one, other in zip(found.inputs, request_.inputs, strict=True):
            assert_same(one, other, bitwise=False)


@given(REQUESTS)
@settings(deadline=None)
def test_request_is_the_same_to_the_bit_where_it_travels_as_bytes(request_):
    binary = parse_infer_request(render_infer_request(request_, binary=lambda _: True))
    raw = parse_infer_request_proto(_sent(render_infer_request_proto(_with(binary, is_raw=True))))
    for one, other in zip(raw.inputs, request_.inputs, strict=True):
        assert_same(one, other)


@given(RESPONSES, st.booleans())
@settings(deadline=None)
def test_response_is_the_same_after_json_and_protobuf(response, choice):
    as_json = parse_infer_response(render_infer_response(response, binary=lambda _: choice))
    as_proto = parse_infer_response_proto(render_infer_response_proto(as_json, is_raw=choice))
    assert (as_proto.id, as_proto.parameters, as_proto.model_name) == (
        response.id, response.parameters, response.model_name,
    )  # fmt: skip
    for one, other in zip(as_proto.outputs, response.outputs, strict=True):
        assert_same(one, other, bitwise=False)


def _sent(message: v2.ModelInferRequest) -> v2.ModelInferRequest:
    return v2.ModelInferRequest.FromString(message.SerializeToString())


def _with(request: InferRequest, *, is_raw: bool) -> InferRequest:
    return replace(request, is_raw=is_raw)


def test_bytes_that_are_no_text_are_base64_in_json_and_say_so():
    request = InferRequest((Tensor("x", "BYTES", np.array([b"\xff\x00", b"a"], dtype=object)),))
    sent = json.loads(render_infer_request(request, binary=lambda _: False).body)
    assert sent["inputs"][0]["data"] == ["/wA=", "YQ=="]
    assert sent["inputs"][0]["parameters"] == {"content_type": "base64"}


@pytest.mark.parametrize(
    ("sent", "word"),
    [
        (V2Body(b"[]"), "not an object"),
        (V2Body(b"{"), "not JSON"),
        (V2Body(b"{}"), "has no inputs"),
        (body(), "inputs is empty"),
        (V2Body(b'{"inputs": 3}'), "not a list"),
        (body(3), r"inputs\[0\] is int"),
        (body(tensor(name="")), "has no name"),
        (body(tensor(name=3)), "name is int"),
        (body(tensor(datatype="FP33")), "datatype 'FP33' is not one of BOOL"),
        (body(tensor(shape=None)), "shape is not a list"),
        (body(tensor(shape=[1.0])), "shape is not a list"),
        (body(tensor(shape=[3])), "wants 3 values, found 2"),
        (body(tensor(data=None)), "data is NoneType"),
        (body(tensor(parameters=[])), "parameters is list"),
        (body(tensor(parameters={"shared_memory_region": "r"})), "not offered"),
        (body(tensor(parameters={"binary_data_size": 8})), "has data and binary_data_size"),
        (body({"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}), "0 bytes"),
        (body(tensor(), id=3), "id is int"),
        (body(tensor(), parameters={f"p{n}": n for n in range(1025)}), "1025 parameters, the limit is 1024"),
        (body(tensor(), outputs=[{"name": "y", "parameters": {"classification": 3}}]), "not offered"),
        (body(*[tensor()] * (MAX_TENSORS + 1)), "the limit is"),
        (body(tensor(datatype="BYTES", data=["?", "?"], parameters={"content_type": "base64"})), "not base64"),
        (V2Body(body(tensor()).body, 10_000), "Inference-Header-Content-Length is 10000"),
        (V2Body(body(tensor()).body + b"xyz", len(body(tensor()).body)), "3 bytes of the body belong to no tensor"),
    ],
)
def test_bodies_that_are_no_request_are_refused_with_the_place(sent, word):
    with pytest.raises(ServingError, match=word) as raised:
        parse_infer_request(sent)
    assert raised.value.status_code == 400


@pytest.mark.parametrize("size", [-1, 9, 2**40, "8", None, True, 8.0])
def test_binary_sizes_that_are_none_are_refused(size):
    entry = {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": size}}
    text = json.dumps({"inputs": [entry]}).encode()
    with pytest.raises(ServingError):
        parse_infer_request(V2Body(text + bytes(8), len(text)))


def proto_tensor(**fields: Any) -> v2.ModelInferRequest.InferInputTensor:
    return v2.ModelInferRequest.InferInputTensor(**{"name": "x", "datatype": "FP32", "shape": [1], **fields})


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ({}, "inputs is empty"),
        ({"inputs": [proto_tensor()]}, "wants 1 values, found 0"),
        ({"inputs": [proto_tensor()] * (MAX_TENSORS + 1)}, "inputs: 1025 tensors, the limit is"),
        (
            {"inputs": [proto_tensor(shape=[0])], "outputs": [{"name": "y"}] * (MAX_TENSORS + 1)},
            "outputs: 1025 tensors, the limit is",
        ),
        ({"inputs": [proto_tensor(name="")]}, "has no name"),
        ({"inputs": [proto_tensor(datatype="x")]}, "datatype 'x' is not one of"),
        ({"inputs": [proto_tensor(shape=[-1])]}, "negative"),
        ({"inputs": [proto_tensor(shape=[2**62, 2**62])]}, "elements"),
        ({"inputs": [proto_tensor(contents={"int_contents": [1]})]}, "are fp32_contents, found int_contents"),
        ({"inputs": [proto_tensor(datatype="INT8", contents={"int_contents": [300]})]}, "does not fit INT8"),
        ({"inputs": [proto_tensor(datatype="FP16")]}, "contents of FP16 are raw"),
        ({"inputs": [proto_tensor()], "raw_input_contents": [b"1234", b""]}, "1 tensors, but 2 raw contents"),
        ({"inputs": [proto_tensor()], "raw_input_contents": [b"123"]}, "is 4 bytes, found 3"),
        (
            {"inputs": [proto_tensor(contents={"fp32_contents": [1]})], "raw_input_contents": [b"1234"]},
            "has contents and raw contents",
        ),
    ],
)
def test_messages_whose_contents_do_not_fit_are_refused(message, word):
    with pytest.raises(ServingError, match=word) as raised:
        parse_infer_request_proto(v2.ModelInferRequest(**message))
    assert raised.value.status_code == 400


def test_typed_contents_of_every_datatype_that_has_them_are_read():
    for datatype, field in CONTENTS.items():
        value = True if datatype == "BOOL" else b"a" if datatype == "BYTES" else 1
        message = v2.ModelInferRequest(inputs=[proto_tensor(datatype=datatype, contents={field: [value]})])
        (found,) = parse_infer_request_proto(message).inputs
        assert (found.datatype, found.array.tolist()) == (datatype, [value])


@given(st.binary(max_size=300), st.none() | st.integers(0, 310))
@settings(deadline=None)
@example(b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}', None)
def test_any_bytes_are_a_request_or_the_client_s_mistake(raw, json_bytes):
    try:
        assert parse_infer_request(V2Body(raw, json_bytes)).inputs
    except ServingError as error:
        assert error.status_code == 400


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=3) | JSON_VALUES,
        "datatype": st.sampled_from(["FP32", "INT8", "BYTES", "BOOL", "BF16"]) | JSON_VALUES,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON_VALUES,
        "data": st.lists(st.integers(0, 3) | st.floats() | st.text(max_size=2), max_size=4) | JSON_VALUES,
        "parameters": st.dictionaries(
            st.sampled_from(["binary_data_size", "content_type", "p"]), st.integers(0, 9) | JSON_VALUES, max_size=2
        ) | JSON_VALUES,
    },
)  # fmt: skip


@given(st.lists(FIELDS, max_size=3) | JSON_VALUES, JSON_VALUES, st.binary(max_size=12))
@settings(deadline=None)
def test_any_json_is_a_request_or_the_client_s_mistake(inputs, parameters, tail):
    text = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
    for sent in (V2Body(text), V2Body(text + tail, len(text))):
        try:
            found = parse_infer_request(sent)
        except ServingError as error:
            assert error.status_code == 400
        else:
            assert parse_infer_request(render_infer_request(found, binary=lambda _: True)).id == found.id


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_protobuf_is_a_request_or_the_client_s_mistake(raw):
    try:
        parse_infer_request_proto(parse_message(raw, v2.ModelInferRequest))
    except ServingError as error:
        assert error.status_code == 400


def test_documented_request_is_one():
    (written,) = re.findall(r"-d '(.*?)'\n", (REPOSITORY / "docs" / "protocols.md").read_text(), re.DOTALL)
    request = parse_infer_request(V2Body(written.encode()))
    assert (request.id, request.inputs[0].shape, request.inputs[0].datatype) == ("mine-1", (1, 4), "FP32")
