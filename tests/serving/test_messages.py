from __future__ import annotations

import base64
import json

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from slipway.contract.protos import prediction_pb2 as pb
from slipway.serving.errors import ServingError
from slipway.serving.json_body import dump_json, parse_json
from slipway.serving.messages import (
    decode_bin_data,
    feedback_to_json,
    feedback_to_proto,
    parse_json_message,
    parse_message,
    to_json,
    to_proto,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
PAYLOADS = st.one_of(
    st.builds(lambda raw: {"binData": base64.b64encode(raw).decode()}, st.binary(max_size=20)),
    st.builds(lambda text: {"strData": text}, TEXT),
    st.builds(lambda value: {"jsonData": value}, JSON_VALUES),
    st.builds(lambda items, names: {"data": {"names": names, "ndarray": items}},
              st.lists(JSON_VALUES, max_size=4), st.lists(TEXT, max_size=2)),
    st.builds(lambda values: {"data": {"tensor": {"shape": [len(values)], "values": values}}}, st.lists(FLOATS, max_size=4)),
    st.builds(lambda values: {"data": {"tftensor": {"dtype": "DT_DOUBLE", "doubleVal": values}}}, st.lists(FLOATS, max_size=3)),
    st.sampled_from([{}, {"data": {}}, {"data": {"names": None, "ndarray": None}}, {"data": None, "strData": "x"},
                     {"binData": None, "status": None, "jsonData": None}]),
)  # fmt: skip
METAS = st.fixed_dictionaries(
    {},
    optional={
        "puid": TEXT,
        "tags": st.dictionaries(TEXT, JSON_VALUES, max_size=2),
        "routing": st.dictionaries(TEXT, st.integers(-(2**31), 2**31 - 1), max_size=2),
        "requestPath": st.dictionaries(TEXT, TEXT, max_size=2),
        "metrics": st.just([{"key": "k", "type": "TIMER", "value": 2.5, "tags": {"a": "b"}}]),
    },
)
MESSAGES = st.builds(lambda payload, meta: {**payload, "meta": meta}, PAYLOADS, METAS)


@given(MESSAGES)
def test_to_proto_equals_protobufs_own_converter(body):
    reference = json_format.ParseDict(body, pb.SeldonMessage())
    assert to_proto(body).SerializeToString(deterministic=True) == reference.SerializeToString(deterministic=True)


@given(MESSAGES)
def test_to_json_is_read_back_to_the_same_message(body):
    message = to_proto(body)
    assert to_proto(to_json(message)) == message
    assert to_proto(json.loads(dump_json(to_json(message)))) == message
    assert json_format.ParseDict(to_json(message), pb.SeldonMessage()) == message


@given(MESSAGES, MESSAGES, st.floats(-100, 100, width=32))
def test_feedback_is_read_back_to_the_same_message(request, truth, reward):
    body = {"request": request, "response": None, "truth": truth, "reward": reward}
    feedback = feedback_to_proto(body)
    assert feedback == json_format.ParseDict(body, pb.Feedback())
    assert feedback_to_proto(feedback_to_json(feedback)) == feedback


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["data", "tensor", "ndarray", "tftensor", "shape", "values", "names", "meta", "tags", "binData",
                         "strData", "jsonData", "customData", "status", "request", "reward", "metrics", "@type"]),
        inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(ANYTHING)
def test_any_json_is_a_message_or_a_400(body):
    for parse in (to_proto, feedback_to_proto):
        try:
            parse(body)
        except ServingError as error:
            assert error.status_code == 400


@pytest.mark.parametrize(("text", "raw"), [("@@@", b""), ("Q @U@I=", b"AB"), ("QUI=\n", b"AB")])
def test_bin_data_drops_what_is_outside_of_the_alphabet_as_seldon_does(text, raw):
    assert decode_bin_data(text) == raw


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_400(raw):
    try:
        message = parse_message(raw, pb.SeldonMessage)
    except ServingError as error:
        assert error.status_code == 400
    else:
        assert isinstance(message, pb.SeldonMessage)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ([], "list"),
        ({"dta": {}}, "dta"),
        ({"strData": "a", "binData": ""}, "binData, strData"),
        ({"strData": 1}, "strData is int"),
        ({"binData": "a"}, "base64"),
        ({"data": {"ndarray": [], "tensor": {}}}, "one of tensor"),
        ({"data": {"tensor": {"shape": [2**40]}}}, "range"),
        ({"jsonData": 10**400}, "large"),
        ({"strData": "\ud800"}, "surrogate"),
        ({"meta": {"unknown": 1}}, "unknown"),
    ],
)
def test_to_proto_names_what_does_not_fit(body, word):
    with pytest.raises(ServingError) as raised:
        to_proto(body)
    assert word in str(raised.value).lower() or word in str(raised.value)


def test_feedback_goes_both_ways():
    body = {"request": {"data": {"ndarray": [[1.0]]}}, "response": {"meta": {"routing": {"r": 1}}}, "reward": 0.5}
    assert feedback_to_json(feedback_to_proto(body)) == body
    with pytest.raises(ServingError, match="reward is str"):
        feedback_to_proto({"reward": "1"})


BIN_DATA_TEXTS = st.one_of(
    st.binary(max_size=12).map(base64.b64encode),
    st.text('AB=/+\\"\n é', max_size=8).map(str.encode),
    st.binary(max_size=4),
)
BIN_DATA_BODIES = st.builds(
    lambda space, text, rest: space + b'{"binData" :"' + text + b'"' + rest,
    st.sampled_from([b"", b" ", b"\xef\xbb\xbf"]),
    BIN_DATA_TEXTS,
    st.sampled_from(
        [b"}", b',"meta":{"puid":"p"}}', b',"binData":"QQ=="}', b',"binData":""}', b"", b"]", b"}{", b',"a":"\\ud800"}']
    ),
)


@given(BIN_DATA_BODIES | st.binary(max_size=20))
def test_message_with_its_photo_first_is_what_json_says(body):
    try:
        expected = parse_json(body)
    except ServingError as refusal:
        with pytest.raises(ServingError, match="is not JSON|surrogate") as caught:
            parse_json_message(body)
        assert caught.value.status_code == refusal.status_code
        return
    found = parse_json_message(body)
    if isinstance(found, dict) and isinstance(found.get("binData"), bytes):
        assert found == {**expected, "binData": base64.b64decode(expected["binData"])}
    else:
        assert found == expected


def test_photo_at_the_beginning_of_a_message_is_bytes_at_once():
    assert parse_json_message(b' { "binData" : "QUI=", "meta": {}}') == {"binData": b"AB", "meta": {}}
