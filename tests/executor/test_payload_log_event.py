"""Payload events as values: their headers, their logged form, and the header that asks for none."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from slipway.contract.loggers import LOGGER_MODES, check_log_url
from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor.compile import LOGGED
from slipway.executor.dialect import SELDON
from slipway.executor.errors import GraphError
from slipway.executor.graph import EventKind, Node
from slipway.executor.payload import Payload
from slipway.executor.payload_log_event import (
    Event,
    Origin,
    event_headers,
    event_of,
    logged_form,
    shown_url,
    skips_logging,
)
from slipway.executor.protocols import PROTOCOLS
from slipway.serving.messages import JSON, PROTOBUF
from tests.executor.graphs import graph_of

ORIGIN = Origin("http://:8000/", "iris", "ns", "main", "seldon")
SKIP = "Seldon-Skip-Logging"


def event(payload: Payload | None = None, kind: EventKind = EventKind.REQUEST, puid: str = "p") -> Event:
    return Event("http://sink/", kind, "clf", puid, payload or Payload(b"{}"), seen_at=1_700_000_000.25)


def headers(payload: Payload, **fields: str) -> dict[str, str]:
    return event_headers(event(payload, **fields), payload, ORIGIN)


def test_headers_are_those_of_cloudevents_and_of_the_contract() -> None:
    found = headers(Payload(b"{}", "application/json; charset=utf-8"))
    UUID(found.pop("ce-id"))
    assert found == {
        "ce-specversion": "1.0",
        "ce-time": "2023-11-14T22:13:20.250000Z",
        "ce-source": "http://:8000/",
        "ce-type": "io.seldon.serving.inference.request",
        "ce-modelid": "clf",
        "ce-requestid": "p",
        "ce-inferenceservicename": "iris",
        "ce-namespace": "ns",
        "ce-endpoint": "main",
        "ce-protocol": "seldon",
        "Content-Type": "application/json; charset=utf-8",
    }
    assert datetime.fromisoformat(found["ce-time"]) == datetime.fromtimestamp(1_700_000_000.25, UTC)


def test_every_event_has_an_identifier_of_its_own() -> None:
    assert headers(Payload(b""))["ce-id"] != headers(Payload(b""))["ce-id"]


@pytest.mark.parametrize("puid", ['a "b" 100%', "ü€", "broken \udcff", "line\r\nce-type: x"])
def test_attributes_that_headers_cannot_hold_are_percent_encoded(puid: str) -> None:
    found = headers(Payload(b""), puid=puid)["ce-requestid"]
    assert found.isascii()
    assert found.isprintable()
    assert not set(' "\r\n') & set(found)


def test_content_type_of_the_client_cannot_break_the_event() -> None:
    assert headers(Payload(b"", "text/ü\udcff"))["Content-Type"] == "text/??"


def test_binary_tensors_say_where_their_json_ends() -> None:
    assert headers(Payload(b"{}xx", "application/octet-stream", json_bytes=2))["inference-header-content-length"] == "2"


@pytest.mark.parametrize("value", ["true", "True", "TRUE", "on", "ON", "1", " true ", "false, true", "0,on"])
def test_skip_logging_is_asked_for(value: str) -> None:
    assert skips_logging(CIMultiDict({SKIP: value}))
    assert skips_logging((("other", "false"), (SKIP.lower(), value)))


@pytest.mark.parametrize("value", ["", "false", "0", "off", "yes", "2", "truee", "t"])
def test_skip_logging_is_not_asked_for(value: str) -> None:
    assert not skips_logging(CIMultiDict({SKIP: value}))
    assert not skips_logging(((SKIP.lower(), value), ("another", "true")))


def test_skip_logging_may_be_given_several_times() -> None:
    assert skips_logging(CIMultiDict([(SKIP, "no"), (SKIP, "1")]))
    assert not skips_logging(CIMultiDict([(SKIP, "no"), (SKIP, "0")]))
    assert not skips_logging(())


def test_protobuf_is_logged_as_json() -> None:
    message = pb.SeldonMessage(strData="hello")
    assert logged_form(event(Payload(message.SerializeToString(), PROTOBUF)), SELDON) == Payload(
        b'{"strData":"hello"}', JSON
    )


def test_feedback_in_protobuf_is_logged_as_json() -> None:
    feedback = pb.Feedback(request=pb.SeldonMessage(strData="a"), reward=0.5)
    found = logged_form(event(Payload(feedback.SerializeToString(), PROTOBUF), EventKind.FEEDBACK), SELDON)
    assert json.loads(found.body) == {"request": {"strData": "a"}, "reward": 0.5}


def test_compressed_payload_is_logged_inflated() -> None:
    found = logged_form(event(Payload(gzip.compress(b'{"a":1}'), JSON, "gzip")), SELDON)
    assert (found.body, found.encoding) == (b'{"a":1}', "")


@pytest.mark.parametrize("payload", [Payload(b"\xff\xff", PROTOBUF), Payload(b"no gzip", JSON, "gzip")])
def test_payload_that_cannot_be_read_is_logged_as_it_came(payload: Payload) -> None:
    assert logged_form(event(payload), SELDON) == payload
    assert event_headers(event(payload), payload, ORIGIN).get("Content-Encoding", "") == payload.encoding


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://ada:secret@sink:8080/in?token=secret", "http://sink:8080"),
        ("https://sink/secret", "https://sink"),
        ("http://a@b@sink", "http://sink"),
    ],
)
def test_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown


BAD_URLS = {
    "default-broker": "http:// or https://",
    "file:///etc/passwd": "http:// or https://",
    "ftp://ada:secret@sink/": "http:// or https://",
    "http://": "names no host",
    "http://ada:secret@:80/": "names no host",
    "http://ada:secret@sink:99999/": "its port is no number",
    "http://ada:b:secret/": "its port is no number",
    "http://[::1/secret": "malformed",
    "http://sink/a b": "a space",
}


@pytest.mark.parametrize("url", BAD_URLS)
def test_url_that_events_cannot_be_sent_to_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ValueError, match=BAD_URLS[url]) as refusal:
        check_log_url(url)
    assert "secret" not in str(refusal.value)
    with pytest.raises(GraphError, match="node clf: logger url") as broken:
        graph_of({"name": "clf", "type": "MODEL", "logger": {"mode": "all", "url": url}})
    assert "secret" not in str(broken.value)


def test_password_is_in_no_repr_of_a_graph() -> None:
    logger = {"mode": "all", "url": "http://ada:secret@sink/"}
    graph = graph_of({"name": "clf", "type": "MODEL", "logger": logger})
    assert graph.is_logged
    assert "secret" not in repr(graph)
    assert "secret" not in repr(event_of(graph.root, EventKind.REQUEST, Payload(b""), puid="", seen_at=0))


def test_every_mode_of_a_logger_has_its_kinds() -> None:
    assert tuple(LOGGED) == LOGGER_MODES
    with pytest.raises(GraphError, match="logger mode 'both' is not one of request, response, all"):
        graph_of({"name": "clf", "type": "MODEL", "logger": {"mode": "both", "url": "http://sink"}})


def test_logger_without_any_url_is_an_error_of_the_graph() -> None:
    with pytest.raises(GraphError, match=r"node clf: the logger has no url, and REQUEST_LOGGER_DEFAULT_ENDPOINT"):
        graph_of({"name": "clf", "type": "MODEL", "logger": {"mode": "all"}})


def test_node_without_a_logger_has_no_events() -> None:
    with pytest.raises(ValueError, match="node a has no logger"):
        event_of(Node("a"), EventKind.REQUEST, Payload(b""), puid="", seen_at=0)


BODIES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"", b"{}", b"[]", b"null", b'{"inputs":[]}', b'{"outputs":[{"name":1}]}', b'{"predictions":1}']),
    st.binary(max_size=60).map(gzip.compress),
    st.text(max_size=20).map(lambda text: pb.SeldonMessage(strData=text).SerializeToString()),
)


@settings(max_examples=600, deadline=None)
@given(
    body=BODIES,
    content_type=st.sampled_from([JSON, PROTOBUF, "image/jpeg", "application/octet-stream", ""]),
    encoding=st.sampled_from(["", "gzip", "deflate", "br"]),
    json_bytes=st.sampled_from([None, 0, 2, 10**6]),
    is_answer=st.booleans(),
    kind=st.sampled_from(EventKind),
    protocol=st.sampled_from(sorted(PROTOCOLS)),
)
def test_whatever_passed_has_a_logged_form_and_headers(
    body: bytes,
    content_type: str,
    encoding: str,
    json_bytes: int | None,
    is_answer: bool,
    kind: EventKind,
    protocol: str,
) -> None:
    passed = Payload(body, content_type, encoding, json_bytes, is_answer=is_answer)
    form = logged_form(event(passed, kind), PROTOCOLS[protocol].dialect)
    assert isinstance(form.body, bytes)
    assert event_headers(event(passed, kind), form, ORIGIN)["ce-type"] == kind.value
