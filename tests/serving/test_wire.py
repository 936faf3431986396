"""Bytes of protobuf messages that are refused before they are parsed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.contract.protos import inference_pb2 as v2
from slipway.contract.protos import prediction_pb2 as pb
from slipway.serving.errors import ServingError
from slipway.serving.limits import MAX_TOP_FIELDS
from slipway.serving.messages import parse_message
from slipway.serving.wire import check_top_fields


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
