"""REST bodies of every content type, also hostile ones: a message or a ServingError 400."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.inputs import input_of_json, input_of_proto
from slipway.microservice.multipart import split_parts
from slipway.microservice.requests import RestRequest, as_json_message, parse_request
from slipway.serving.accept import Accepted, parse_accept
from slipway.serving.errors import ServingError
from slipway.serving.limits import MAX_FORM_PARTS
from slipway.serving.messages import to_json

FORM = "multipart/form-data; boundary=XX"


def _part(disposition: str, content: bytes = b"1", *headers: str) -> bytes:
    head = "\r\n".join([f"Content-Disposition: form-data; {disposition}", *headers])
    return b"--XX\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"


def _parse(content_type: str, body: bytes, query: str = "") -> object:
    return parse_request(RestRequest(content_type, query, body), pb.SeldonMessage)


def test_parts_keep_their_bytes():
    hard = b"\r\n--X\r\n--XY\x00\xff\r\n"
    body = b"preamble\r\n" + _part('name="a"; filename="f.bin"', hard) + _part('name="b"', b"") + b"--XX--\r\nepilogue"
    first, second = split_parts(body, FORM)
    assert (first.name, first.filename, first.content) == ("a", "f.bin", hard)
    assert (second.name, second.filename, second.content) == ("b", None, b"")


@pytest.mark.parametrize(
    ("content_type", "body", "sentence"),
    [
        ("multipart/form-data", b"", "boundary"),
        ("multipart/form-data; boundary=" + "x" * 300, b"", "boundary"),
        (FORM, b"", "closing boundary"),
        (FORM, b"--XX\r\n", "closing boundary"),
        (FORM, _part('name="a"'), "closing boundary"),
        (FORM, b"--XX\r\nno headers\r\n--XX--", "missing or too long"),
        (FORM, _part('name="a"', b"1", "X: " + "y" * 5000) + b"--XX--", "too long"),
        (FORM, _part("nothing") + b"--XX--", "no name"),
        (FORM, b"--XX\r\n\r\ncontent\r\n--XX--", "no name"),
        (FORM, _part('name="a"') * 2 + b"--XX--", "given twice"),
        (FORM, b"".join(_part(f'name="f{n}"') for n in range(MAX_FORM_PARTS + 1)) + b"--XX--", "more than"),
        (FORM, _part('name="data"', b"{") + b"--XX--", "field data is not JSON"),
        (FORM, _part('name="strData"', b"\xff") + b"--XX--", "UTF-8"),
        (FORM, _part('name="a"', b"x", "Content-Type: image/png") + _part('name="b"', b"y", "Content-Type: image/png")
         + b"--XX--", "more than one part"),
        ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 100), "form"),
        ("application/x-www-form-urlencoded", b"\xff", "form"),
        ("text/plain", b"{}", "Content-Type is 'text/plain'"),
        ("", b"{}", "no Content-Type"),
        ("image/png", b"", "empty"),
        ("application/x-protobuf", b"\xff", "SeldonMessage"),
        ("application/json", b"", "not JSON"),
    ],
)  # fmt: skip
def test_bodies_that_are_no_message_say_why(content_type, body, sentence):
    with pytest.raises(ServingError, match=sentence) as raised:
        _parse(content_type, body)
    assert raised.value.status_code == 400


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "application/x+json"])
def test_json_content_types(content_type):
    assert _parse(content_type, b'{"strData":"x"}') == {"strData": "x"}


def test_a_bin_data_file_is_bytes_and_other_files_are_text():
    form = _part('name="binData"; filename="a"', b"\x00") + _part('name="strData"; filename="b"', b"text") + b"--XX--"
    assert _parse(FORM, form) == {"binData": b"\x00", "strData": "text"}


def test_raw_hooks_see_base64():
    assert as_json_message([{"binData": b"\x00"}, {"binData": "AA=="}, 1]) == [
        {"binData": "AA=="},
        {"binData": "AA=="},
        1,
    ]


@pytest.mark.parametrize(
    ("accept", "accepted"),
    [
        ("", Accepted(proto=False)),
        ("*/*", Accepted(proto=False)),
        ("application/x-protobuf, application/json", Accepted(proto=True)),
        ("application/x-protobuf;q=0.9", Accepted(proto=True, json=False)),
    ],
)
def test_accept_header(accept, accepted):
    assert parse_accept(accept) == accepted


@given(st.binary(max_size=300), st.sampled_from([FORM, "application/x-www-form-urlencoded", "application/json",
                                                 "application/x-protobuf", "image/jpeg", "a/b; boundary=\x00"]))  # fmt: skip
def test_any_body_is_a_message_or_a_400(body, content_type):
    try:
        _parse(content_type, body)
    except ServingError as error:
        assert error.status_code == 400


FRAGMENTS = st.sampled_from([b"--XX", b"--", b"\r\n", b"\r\n\r\n", b"Content-Disposition: form-data", b'; name="a"', b"XX",
                             b"; filename*=utf-8''%ff", b"Content-Type: ", b"image/png", b'; name="', b"=?utf-8?q?x?=", b"\x00"])  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=14).map(b"".join))
def test_any_form_is_parts_or_a_400(body):
    try:
        split_parts(body, FORM)
    except ServingError as error:
        assert error.status_code == 400


KEYS = ["data", "tensor", "ndarray", "tftensor", "shape", "values", "names", "meta", "tags", "binData", "strData", "jsonData", "customData", "dtype", "dim", "size", "tensorShape", "floatVal", "metrics", "puid"]  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.sampled_from(["", "x", "DT_FLOAT", "AA=="]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=12,
)


@given(ANYTHING)
def test_any_json_is_an_input_or_a_400(body):
    try:
        input_of_json(body)
    except ServingError as error:
        assert error.status_code == 400


@given(st.binary(max_size=80))
def test_any_protobuf_is_an_input_or_a_400(raw):
    try:
        message = _parse("application/x-protobuf", raw)
        assert isinstance(message, pb.SeldonMessage)
        input_of_proto(message)
    except ServingError as error:
        assert error.status_code == 400


def test_a_huge_announced_tftensor_is_refused():
    body = {"dtype": "DT_FLOAT", "tensorShape": {"dim": [{"size": "100000"}, {"size": "100000"}]}, "floatVal": [1]}
    with pytest.raises(ServingError, match="elements"):
        input_of_json({"data": {"tftensor": body}})


def test_a_tftensor_repeats_its_last_value():
    body = {"dtype": "DT_INT32", "tensorShape": {"dim": [{"size": "3"}]}, "intVal": [1, 2]}
    np.testing.assert_array_equal(input_of_json({"data": {"tftensor": body}}).features, [1, 2, 2])


@given(st.lists(st.floats(allow_nan=False), max_size=6))
def test_tensor_means_the_same_on_both_wires(values):
    body = {"data": {"tensor": {"shape": [len(values)], "values": values}}}
    message = pb.SeldonMessage(data=pb.DefaultData(tensor=pb.Tensor(shape=[len(values)], values=values)))
    np.testing.assert_array_equal(input_of_json(body).features, input_of_proto(message).features)
    np.testing.assert_array_equal(input_of_json(to_json(message)).features, values)


def test_base64_is_lenient_about_foreign_characters():
    assert input_of_json({"binData": "A\nA-A!A"}).features == base64.b64decode("AAAA")
