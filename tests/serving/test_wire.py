"""Bytes of protobuf messages that are refused before they are parsed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.contract.protos import inference_pb2 as v2
from slipway.contract.protos import prediction_pb2 as pb
from slipway.serving.errors import ServingError
from slipway.serving.limits import MAX_TOP_FIELDS, MAX_VALUES
from slipway.serving.messages import parse_message, to_proto, varint
from slipway.serving.wire import _count_elements, check_fields, check_top_fields


@pytest.mark.parametrize(
    ("kind", "field"),
    [(v2.ModelInferRequest, b"\x2a\x00"), (pb.SeldonMessageList, b"\x0a\x00"), (pb.SeldonMessage, b"\x78\x01")],
)
def test_more_fields_than_any_message_has_are_refused(kind, field):
    parse_message(field * MAX_TOP_FIELDS, kind)
    with pytest.raises(ServingError, match="more than 8192 fields") as raised:
        parse_message(field * 6_000_000, kind)
    assert raised.value.status_code == 400


def test_large_messages_of_few_fields_pass():
    request = v2.ModelInferRequest(id="7", raw_input_contents=[bytes(2**20)] * 3)
    request.inputs.add(name="x").contents.fp64_contents.extend([0.5] * 100_000)
    assert parse_message(request.SerializeToString(), v2.ModelInferRequest) == request
    large = pb.SeldonMessage(data=pb.DefaultData(tensor=pb.Tensor(shape=[100_000], values=[1.0] * 100_000)))
    assert parse_message(large.SerializeToString(), pb.SeldonMessage) == large


PADDING = b"\x7a\x80\x80\x02" + bytes(2**15)  # field 15, 32 KiB: the whole is large enough to be looked at


@given(st.binary(max_size=40))
@settings(deadline=None)
def test_what_protobuf_parses_passes(raw):
    message = v2.ModelInferRequest()
    try:
        message.ParseFromString(PADDING + raw)
    except Exception:  # noqa: BLE001 - DecodeError; then either answer is right
        return
    if not any(byte & 7 in (3, 4) for byte in raw):  # groups, which proto3 does not have
        check_top_fields(PADDING + raw, what="x")


@pytest.mark.parametrize("end", [b"\x0a", b"\x0a\x05ab", b"\x08", b"\xff" * 11, b"\x0b", b"\x09\x00", b"\x0d\x00"])
def test_fields_that_do_not_end_are_refused(end):
    with pytest.raises(ServingError, match="the body is not a x"):
        check_top_fields(PADDING + end, what="x")


def delimited(tag: int, *contents: bytes) -> bytes:
    body = b"".join(contents)
    return bytes([tag]) + varint(len(body)) + body


def ndarray(value: bytes, count: int) -> bytes:
    """A SeldonMessage whose ``data.ndarray`` has the same encoded Value again and again."""
    return delimited(0x1A, delimited(0x1A, value * count))


MANY = 3_000_000
SMALL: dict[str, bytes] = {
    "empty values": ndarray(b"\x0a\x00", MANY),
    "lengths of three bytes": ndarray(b"\x0a\x80\x00", MANY),
    "tags of two bytes": ndarray(b"\x8a\x00\x00", MANY),
    "nulls": ndarray(b"\x0a\x02\x08\x00", MANY),
    "nested": ndarray(b"\x0a\x06\x32\x04\x0a\x02\x32\x00", 1_000_000),
    "behind a photo": delimited(0x22, b"\x02" * MANY) + ndarray(b"\x0a\x00", MANY),
    "names": delimited(0x1A, b"\x0a\x00" * MANY),
    "metrics": delimited(0x12, b"\x2a\x00" * MANY),
    "texts of a tftensor": delimited(0x1A, delimited(0x22, b"\x42\x00" * MANY)),
}


@pytest.mark.parametrize("case", SMALL)
def test_more_small_messages_and_texts_than_the_limit_are_refused_before_they_are_parsed(case: str):
    with pytest.raises(ServingError, match="more than 2100000 values, messages and texts") as raised:
        parse_message(SMALL[case], pb.SeldonMessage)
    assert raised.value.status_code == 400


@pytest.mark.parametrize(
    "raw",
    [
        delimited(0x22, b"\x02\x02" * MANY),
        ndarray(b"\x0a\x09\x11\x02\x02\x02\x02\x02\x02\x02\x02", 1_100_000),
        ndarray(b"\x0a\x00", MAX_VALUES - 2),
        delimited(0x1A, delimited(0x12, delimited(0x12, b"\x02" * 8_000_000))),
    ],
    ids=["a dark photo", "numbers", "as many values as the limit", "a tensor"],
)
def test_large_messages_that_only_look_like_it_pass(raw: bytes):
    check_fields(raw, pb.SeldonMessage.DESCRIPTOR)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(VALUES, max_size=5), st.lists(st.text(max_size=2), max_size=3))
@settings(deadline=None)
def test_count_is_that_of_the_parsed_message(items, names):
    message = to_proto({"data": {"names": names, "ndarray": items}})
    raw = message.SerializeToString()
    assert _count_elements(raw, pb.SeldonMessage.DESCRIPTOR, limit=10**9) == _elements(message)


def _elements(message: Any) -> int:
    """Messages and repeated texts below ``message``; an entry of a map is one, and its value another."""
    count = 0
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            count += sum(2 + _elements(value[key]) for key in value)
        elif field.message_type is not None:
            count += sum(1 + _elements(one) for one in (value if field.is_repeated else [value]))
        elif field.is_repeated and field.type == field.TYPE_STRING:
            count += len(value)
    return count
