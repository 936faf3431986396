"""Rows 80 to 83 and 86 of docs/compatibility.md: what goes in and what comes out, under both start commands."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from slipway.serving.messages import to_proto
from tests.conformance.conftest import Serve
from tests.conformance.servers import multipart
from tests.conformance.verdicts import better, same

pytestmark = pytest.mark.conformance

TENSOR = {"data": {"names": ["t:0", "t:1"], "tensor": {"shape": [1, 2], "values": [1, 2]}}}
NDARRAY = {"data": {"names": ["t:0", "t:1"], "ndarray": [[1, 2]]}}
TFTENSOR = {"data": {"tftensor": {"dtype": "DT_FLOAT", "tensorShape": {"dim": [{"size": "2"}]}, "floatVal": [1, 2]}}}
BIN = {"binData": base64.b64encode(bytes(range(256))).decode()}
STR = {"strData": "snowman ☃"}
JSON_DATA = {"jsonData": {"a": [1.5, None, True], "b": {}}}


def _payload(reply: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in reply.items() if name != "meta"}


@same(80)
def test_row_80_predict_answers_get_with_json_and_post_on_three_paths(serve: Serve):
    echo = serve("rows.Echo")
    status, reply = echo.ask("/predict?json=" + quote(json.dumps(NDARRAY)))
    assert (status, _payload(reply)) == (200, NDARRAY)
    for path in ("/predict", "/api/v0.1/predictions", "/api/v1.0/predictions"):
        status, reply = echo.ask(path, NDARRAY)
        assert (status, _payload(reply)) == (200, NDARRAY), path


@same(81)
@pytest.mark.parametrize("message", [TENSOR, NDARRAY, BIN, STR, JSON_DATA], ids=lambda one: str(one)[:20])
def test_row_81_reply_has_the_kind_of_the_request(serve: Serve, message: dict[str, Any]):
    echo = serve("rows.Echo")
    status, reply = echo.ask("/predict", message)
    assert (status, _payload(reply)) == (200, message)
    reply = echo.call(stubs.ModelStub, "Predict", to_proto(message))
    assert isinstance(reply, pb.SeldonMessage)
    reply.ClearField("meta")
    assert reply == to_proto(message)


@same(81)
@pytest.mark.parametrize("message", [{"strData": "numbers"}, {"strData": "integers"}])
def test_row_81_array_for_a_request_without_one_is_a_tensor(serve: Serve, message: dict[str, Any]):
    status, reply = serve("rows.Results").ask("/predict", message)
    assert status == 200
    assert reply["data"]["tensor"]["shape"] == [1, 2]
    assert serve("rows.Results").call(stubs.ModelStub, "Predict", to_proto(message)).data.tensor.shape == [1, 2]


@better(81)
def test_row_81_tftensor_is_echoed_without_tensorflow(serve: Serve):
    status, reply = serve("rows.Echo").ask("/predict", TFTENSOR)
    assert status == 200
    assert reply["data"]["tftensor"]["dtype"] == "DT_FLOAT"
    reply = serve("rows.Echo").call(stubs.ModelStub, "Predict", to_proto(TFTENSOR))
    assert reply.data.tftensor.dtype == 1


def _asking(what: str, *, kind: str) -> dict[str, Any]:
    data = {"tensor": {"shape": [1, 1], "values": [1.0]}} if kind == "tensor" else {"ndarray": [[1.0]]}
    return {"data": {"names": [what], **data}}


@same(82)
@pytest.mark.parametrize("kind", ["tensor", "ndarray"])
@pytest.mark.parametrize("what", ["texts", "truths"])
def test_row_82_what_is_not_numeric_is_an_ndarray_whatever_was_asked(serve: Serve, what: str, kind: str):
    expected = {"texts": [["cat", "dog"]], "truths": [[True, False]]}[what]
    status, reply = serve("rows.Results").ask("/predict", _asking(what, kind=kind))
    assert (status, reply["data"]["ndarray"]) == (200, expected)
    reply = serve("rows.Results").call(stubs.ModelStub, "Predict", to_proto(_asking(what, kind=kind)))
    assert len(reply.data.ndarray.values[0].list_value.values) == 2


@same(82)
def test_row_82_dict_is_json_data_bytes_bin_data_and_text_str_data_whatever_was_asked(serve: Serve):
    results = serve("rows.Results")
    for what, payload in (
        ("dict", {"jsonData": {"label": "cat", "of": [1.5, None]}}),
        ("bytes", {"binData": "AP8="}),
        ("text", {"strData": "plain"}),
    ):
        for kind in ("tensor", "ndarray"):
            status, reply = results.ask("/predict", _asking(what, kind=kind))
            assert (status, _payload(reply)) == (200, payload)
            reply = results.call(stubs.ModelStub, "Predict", to_proto(_asking(what, kind=kind)))
            assert reply.WhichOneof("data_oneof") == next(iter(payload))


@same(82)
def test_row_82_any_is_custom_data_over_grpc(serve: Serve):
    wrapped = AnyMessage()
    wrapped.Pack(pb.Tensor(shape=[1]))
    reply = serve("rows.Results").call(stubs.ModelStub, "Predict", pb.SeldonMessage(strData="any"))
    assert reply.customData == wrapped
    reply = serve("rows.Echo").call(stubs.ModelStub, "Predict", pb.SeldonMessage(customData=wrapped))
    assert reply.customData == wrapped


@same(83)
def test_row_83_columns_are_named_by_number_by_a_method_or_by_an_attribute(serve: Serve):
    for interface, names in (
        ("rows.Results", ["t:0", "t:1"]),
        ("rows.NamedByMethod", ["cat", "dog"]),
        ("rows.NamedByAttribute", ["cat", "dog"]),
    ):
        served = serve(interface)
        for message in ({"strData": "numbers"}, _asking("numbers", kind="ndarray")):
            assert served.ask("/predict", message)[1]["data"]["names"] == names
            assert served.call(stubs.ModelStub, "Predict", to_proto(message)).data.names == names
        assert served.ask("/predict", {"strData": "vector"})[1]["data"]["names"] == []


@better(83)
def test_row_83_attribute_may_be_a_numpy_array(serve: Serve):
    status, reply = serve("rows.NamedByArray").ask("/predict", {"strData": "numbers"})
    assert (status, reply.get("data", {}).get("names")) == (200, ["cat", "dog"])


@same(86)
def test_row_86_multipart_takes_an_image_file_a_text_file_a_text_field_and_a_json_field(serve: Serve):
    echo = serve("rows.Echo")
    image = b"\x89PNG\r\n\x1a\n\x00"
    for part, payload in (
        (("binData", '; filename="a.png"\r\nContent-Type: image/png', image), {"binData": _base64(image)}),
        (("strData", '; filename="a.txt"\r\nContent-Type: text/plain', b"[a file"), {"strData": "[a file"}),
        (("strData", "", b"[a field"), {"strData": "[a field"}),
        (("jsonData", "", b'{"a": [1]}'), {"jsonData": {"a": [1]}}),
        (("data", "", b'{"names": ["t:0"], "ndarray": [[1]]}'), {"data": {"names": ["t:0"], "ndarray": [[1]]}}),
    ):
        status, reply = echo.ask("/predict", **multipart(part, ("meta", "", b'{"puid": "p"}')))
        assert (status, _payload(reply), reply["meta"]["puid"]) == (200, payload, "p")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@better(86)
def test_row_86_image_file_may_have_any_name(serve: Serve):
    part = ("photo", '; filename="a.png"\r\nContent-Type: image/png', b"\x89PNG\x00")
    status, reply = serve("rows.Echo").ask("/predict", **multipart(part))
    assert (status, reply.get("binData")) == (200, _base64(b"\x89PNG\x00"))


@same(86)
def test_row_86_status_code_inside_a_predict_reply_is_the_http_status(serve: Serve):
    assert serve("rows.Paid").ask("/predict", STR) == (402, {"status": {"code": 402}})
    assert serve("rows.Paid").ask("/transform-input", STR)[0] == 200


@better(86)
def test_row_86_photo_may_be_the_whole_body(serve: Serve):
    status, reply = serve("rows.Echo").ask("/predict", raw=b"\xff\xd8\xff", content_type="image/jpeg")
    assert (status, reply.get("binData")) == (200, _base64(b"\xff\xd8\xff"))


@better(82)
def test_row_82_result_of_no_payload_is_refused_with_its_type_over_both_wires(serve: Serve):
    refused = serve("rows.Refused").call(stubs.ModelStub, "Predict", pb.SeldonMessage(strData="x"))
    assert isinstance(refused, grpc.RpcError)
    assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "tuple" in refused.details()
