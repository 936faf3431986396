"""Joining and changing bodies: the contract's behaviours 12, 17 and 32."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor import payload as payloads
from slipway.executor.errors import CombineError
from slipway.executor.payload import Payload, combine, escape_html, inflate, with_routing
from slipway.serving.messages import PROTOBUF

json_values = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=4), max_leaves=8
)


@given(st.lists(json_values, min_size=1, max_size=5))
def test_combined_messages_are_a_json_array_and_separable_again(values: list[object]) -> None:
    joined = combine([Payload(json.dumps(value).encode()) for value in values])
    assert json.loads(joined.body) == values


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5))
def test_combined_protobufs_are_a_message_list(bodies: list[bytes]) -> None:
    messages = [pb.SeldonMessage(binData=body) for body in bodies]
    joined = combine([Payload(message.SerializeToString(), PROTOBUF) for message in messages])
    assert list(pb.SeldonMessageList.FromString(joined.body).seldonMessages) == messages


def test_mixed_answers_are_combined_as_json() -> None:
    message = Payload(pb.SeldonMessage(strData="a").SerializeToString(), PROTOBUF)
    joined = combine([message, Payload(b'{"strData":"b"}')])
    assert json.loads(joined.body) == [{"strData": "a"}, {"strData": "b"}]
    assert joined.content_type == "application/json"


@pytest.mark.parametrize("bad", [b"", b"{", b"\xff", b"[" * 200])
def test_what_is_not_json_cannot_be_combined(bad: bytes) -> None:
    with pytest.raises(CombineError, match="child 1"):
        combine([Payload(b"1"), Payload(bad)])


def test_broken_protobuf_cannot_be_combined_with_json() -> None:
    with pytest.raises(CombineError):
        combine([Payload(b"\xff", PROTOBUF), Payload(b"1")])


@given(st.text())
def test_escaped_json_means_the_same_and_has_no_html(text: str) -> None:
    escaped = escape_html(json.dumps(text, ensure_ascii=False).encode())
    assert json.loads(escaped) == text
    assert not set(escaped) & set(b"<>&")
    assert "\u2028".encode() not in escaped


def test_compressed_body_that_grows_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "MAX_INFLATED_BYTES", 1000)
    with pytest.raises(CombineError, match="larger than 1000 bytes"):
        inflate(Payload(zlib.compress(b"0" * 100_000), encoding="deflate"))
    with pytest.raises(CombineError, match="cannot be inflated"):
        inflate(Payload(b"no", encoding="gzip"))


def test_compressed_body_is_read_to_its_end_or_refused() -> None:
    whole = gzip.compress(b'{"strData":') + gzip.compress(b'"x"}')
    assert inflate(Payload(whole, encoding="gzip")) == Payload(b'{"strData":"x"}')
    with pytest.raises(CombineError, match="ends early"):
        inflate(Payload(whole[:-3], encoding="gzip"))
    with pytest.raises(CombineError, match="is br: gzip and deflate are read"):
        inflate(Payload(b"\x0b\x00\x80x", encoding="br"))


def test_members_that_are_small_alone_are_refused_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "MAX_INFLATED_BYTES", 1000)
    with pytest.raises(CombineError, match="larger than 1000 bytes"):
        inflate(Payload(gzip.compress(b"0" * 600) * 2, encoding="gzip"))


@pytest.mark.parametrize("body", [b"[]", b'{"strData":"x"}', b'{"meta":null}', b"{"])
def test_routing_is_not_put_where_there_is_no_meta(body: bytes) -> None:
    assert with_routing(Payload(body), {"r": 1}).body == body


def test_routing_replaces_what_was_there() -> None:
    changed = with_routing(Payload(b'{"meta":{"routing":{"old":3}}}'), {"r": 1})
    assert json.loads(changed.body) == {"meta": {"routing": {"r": 1}}}
