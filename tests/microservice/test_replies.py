"""Replies as bytes: written by hand where that saves copies, and the same as protobuf's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format

from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.replies import MAX_DEFAULT_NAMES, Reply, default_names, reply_to_proto, reply_to_wire
from slipway.serving.errors import ServingError
from slipway.serving.messages import to_proto

META = {"puid": "p", "tags": {"seen": True}, "requestPath": {"node": "image:1"}}


@pytest.mark.parametrize("meta", [{}, META])
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", ""), (b"\x00\xff", ""), (bytearray(b"photo"), ""), (bytes(70_000), ""),
        ("text", ""), ({"a": 1}, ""), (np.eye(2), "tensor"),
    ],
)  # fmt: skip
def test_wire_form_is_the_message_itself(data: Any, kind: str, meta: dict[str, Any]) -> None:
    reply = Reply(data, [], kind, meta)
    assert reply_to_wire(reply) == reply_to_proto(reply).SerializeToString()


def test_wire_form_of_a_meta_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ServingError, match="does not fit a SeldonMessage") as refused:
        reply_to_wire(Reply(b"photo", [], "", {"puid": 7}))
    assert refused.value.status_code == 500


@pytest.mark.parametrize(
    "meta",
    [
        {"puid": ""},
        {"puid": "p", "routing": {"a": 1}, "requestPath": {}},
        {"requestPath": {"a": "x", "b": ""}, "metrics": [{"key": "k", "type": "GAUGE", "value": 1.5}]},
    ],
)
def test_meta_is_what_protobuf_makes_of_it(meta: dict[str, Any]) -> None:
    assert to_proto({"meta": meta}).meta == json_format.ParseDict(meta, pb.Meta())


@pytest.mark.parametrize(
    "meta", [{"puid": 1}, {"puid": "\ud800"}, {"requestPath": {"a": 1}}, {"requestPath": {"a": "\ud800"}}, {"none": 1}]
)
def test_meta_that_does_not_fit_is_the_clients_error(meta: dict[str, Any]) -> None:
    with pytest.raises(ServingError) as refused:
        to_proto({"meta": meta})
    assert refused.value.status_code == 400


def test_columns_have_names_unless_there_are_too_many() -> None:
    assert default_names(np.zeros((2, 3))) == ["t:0", "t:1", "t:2"]
    assert default_names(np.zeros(3)) == []
    assert default_names(np.empty((0, MAX_DEFAULT_NAMES + 1))) == []
