"""Replies of detectors → typed detections."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_wrappers.tutorial_response import tutorial_reply
from slipway.client.detections import Box, Detection, Size, parse_detections
from slipway.client.errors import Refused, UnexpectedReply
from slipway.client.reply import ModelVersion, Reply, read_reply

DIGEST = "sha256:" + "ab" * 32
CAT = {"label": "cat", "class_id": 1, "confidence": 0.9, "box": {"x_min": 1, "y_min": 2, "x_max": 5, "y_max": 10}}
DOG = {"label": "dog", "class_id": 2, "confidence": 0.5, "box": {"x_min": 0, "y_min": 0, "x_max": 3, "y_max": 3}}
BODY = {
    "detections": [CAT, DOG],
    "image": {"width": 640, "height": 480},
    "model": {"name": "pets", "version": "3", "digest": DIGEST},
}


def reply(message: dict[str, Any], **headers: str) -> Reply:
    return read_reply(message, headers, elapsed_ms=12.0)


def test_detections_are_typed_and_counted() -> None:
    found = parse_detections(reply({"jsonData": BODY}, **{"x-slipway-predictor": "canary"}))
    assert list(found) == [
        Detection("cat", 0.9, Box(1, 2, 5, 10), 1),
        Detection("dog", 0.5, Box(0, 0, 3, 3), 2),
    ]
    assert (found[0].box.width, found[0].box.height) == (4, 8)
    assert (len(found), found[0:1], found.photo) == (2, (found[0],), Size(640, 480))
    assert (found.model, found.predictor, found.labels) == (
        ModelVersion("pets", "3", DIGEST),
        "canary",
        {"cat": 1, "dog": 1},
    )
    assert str(found) == "1 cat, 1 dog (pets/3, canary, 12 ms)"


def test_numbers_of_grpc_are_whole_where_they_count() -> None:
    body = {"detections": [{**CAT, "class_id": 1.0}], "image": {"width": 640.0, "height": 480.0}}
    found = parse_detections(reply({"jsonData": body}))
    assert (repr(found[0].class_id), repr(found.photo)) == ("1", "Size(width=640, height=480)")


def test_model_comes_from_the_header_where_the_body_has_none() -> None:
    found = parse_detections(reply({"jsonData": {"detections": []}}, **{"x-slipway-model": f"pets/3 {DIGEST}"}))
    assert found.model == ModelVersion("pets", "3", DIGEST)
    assert str(found) == "nothing (pets/3, 12 ms)"


def test_reply_without_any_provenance_still_has_its_boxes() -> None:
    found = parse_detections(reply({"jsonData": {"detections": [CAT]}}))
    assert (found[0].label, found.model, found.photo, found.predictor) == ("cat", None, None, "")


@pytest.mark.parametrize("wrapped", [True, False])
def test_tutorials_rows_are_corners_again(wrapped: bool) -> None:
    rows = tutorial_reply({"jsonData": BODY})
    found = parse_detections(reply({"jsonData": rows} if wrapped else rows))
    assert [(one.label, one.confidence, one.box, one.class_id) for one in found] == [
        ("cat", 0.9, Box(1, 2, 5, 10), None),
        ("dog", 0.5, Box(0, 0, 3, 3), None),
    ]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"data": {"ndarray": [1]}}, r"no jsonData\.detections but data"),
        ({}, "but nothing"),
        ({"jsonData": [1]}, "but jsonData"),
        ({"jsonData": {"detections": [{"label": "cat"}]}}, "KeyError: 'box'"),
        ({"jsonData": {"detections": [{**CAT, "confidence": "much"}]}}, "ValueError"),
        ({"jsonData": {**BODY, "image": 7}}, "TypeError"),
        ({"jsonData": {**BODY, "image": {"width": float("inf"), "height": 1}}}, "OverflowError"),
        ({"data": [["cat", 0.5]], "uid": "x"}, "ValueError"),
    ],
)
def test_reply_of_another_kind_is_unexpected(message: dict[str, Any], said: str) -> None:
    with pytest.raises(UnexpectedReply, match=said):
        parse_detections(reply(message))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["jsonData", "detections", "box", "label", "data", "uid", "image"]), inner)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["jsonData", "data", "uid", "meta", "detections"]), JSON))
def test_any_json_is_detections_or_unexpected(message: dict[str, Any]) -> None:
    try:
        parse_detections(reply(message))
    except UnexpectedReply:
        return


@pytest.mark.parametrize("number", ["nan", "inf", float("nan"), float("-inf")])
def test_number_that_is_none_is_unexpected(number: Any) -> None:
    for row in ({**CAT, "confidence": number}, {**CAT, "box": {**CAT["box"], "x_min": number}}):  # type: ignore[dict-item]
        with pytest.raises(UnexpectedReply, match="is no number"):
            parse_detections(reply({"jsonData": {"detections": [row]}}))
    with pytest.raises(UnexpectedReply, match="is no number"):
        parse_detections(reply({"uid": "1", "data": [["cat", 0.5, [float("nan"), 1, 1, 1]]]}))


def test_what_a_server_says_cannot_drive_a_terminal() -> None:
    found = parse_detections(reply({"jsonData": {"detections": [{**CAT, "label": "cat\x1b[2J\n"}]}}))
    assert str(found) == "1 cat [2J  (12 ms)"
    error = Refused(400, reason="BAD", info="no\x1b]0;title\x07 photo")
    assert (str(error), error.info) == ("HTTP 400: BAD: no ]0;title  photo", "no\x1b]0;title\x07 photo")


def test_headers_say_who_answered() -> None:
    said = {
        "seldon-puid": "id-1",
        "x-slipway-predictor": "stable",
        "x-slipway-model": f"pets/3 {DIGEST}, folder/ {DIGEST}",
        "x-slipway-routing": '{"router":1}',
        "server-timing": 'transformer;dur=1.500, "quoted name";x=1, model;desc="a";dur="2"',
    }
    found = read_reply({"meta": {"puid": "other"}}, said, elapsed_ms=1)
    assert (found.request_id, found.predictor, found.routing) == ("id-1", "stable", {"router": 1})
    assert found.models == (ModelVersion("pets", "3", DIGEST), ModelVersion("folder", "", DIGEST))
    assert (found.model, found.node_ms) == (found.models[0], {"transformer": 1.5, "model": 2.0})


def test_meta_says_it_where_no_header_does() -> None:
    found = read_reply({"meta": {"puid": "id-2", "routing": {"router": 0.0}}}, {}, elapsed_ms=1)
    assert (found.request_id, found.routing, found.models, found.node_ms) == ("id-2", {"router": 0}, (), {})


@pytest.mark.parametrize(
    "text", ["{", "[1]", '{"a": NaN}', '{"a": "1"}', '{"a": -3}', '{"a": 1e99}', '{"a": [1]}', "null"]
)
def test_routing_that_is_none_is_left_out(text: str) -> None:
    assert read_reply({}, {"x-slipway-routing": text}, elapsed_ms=1).routing == {}


@given(st.dictionaries(st.sampled_from(["x-slipway-model", "x-slipway-routing", "server-timing"]), st.text()))
def test_unreadable_headers_are_left_out(said: dict[str, str]) -> None:
    assert read_reply({}, said, elapsed_ms=1).predictor == ""
