"""Payload events of a graph behind the gateway, at a receiver on loopback."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest

from scripts.demo import photo
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from tests.e2e.graphs import chain
from tests.e2e.platform import Platform
from tests.e2e.test_wire_forms import CALL_TIMEOUT_S, PHOTO, deployed, post
from tests.waiting import wait_until

NAME = "logged"
REQUEST, RESPONSE = "io.seldon.serving.inference.request", "io.seldon.serving.inference.response"
TRANSFORMER, DETECTOR = "image-transformer", "yolo-detector"
EVENTS = sorted([(TRANSFORMER, REQUEST), (TRANSFORMER, RESPONSE)] * 2 + [(DETECTOR, REQUEST), (DETECTOR, RESPONSE)])
"""Of one prediction: the transformer's own pair, the pair of its child, the detector's pair."""


@dataclass(frozen=True)
class Event:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def what(self) -> tuple[str, str]:
        return self.headers["ce-modelid"], self.headers["ce-type"]


@dataclass
class Receiver:
    port: int = 0
    events: list[Event] = field(default_factory=list)

    def of(self, puid: str) -> list[Event]:
        return [event for event in self.events if event.headers["ce-requestid"] == puid]

    def wait_for(self, puid: str) -> list[Event]:
        wait_until(lambda: len(self.of(puid)) >= len(EVENTS), what=f"events of {puid}")
        return self.of(puid)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.events.append(Event(self.path, {key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing: the events are kept."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_address[1]
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield found
        server.shutdown()
        serving.join()


@pytest.fixture(scope="module")
def logged(platform: Platform, receiver: Receiver) -> Iterator[Receiver]:
    """The transformer names its receiver, the detector uses the executor's default."""
    manifest = chain(NAME, "models:/shapes/2", size="192x192")
    (predictor,) = manifest["spec"]["predictors"]
    url = f"http://127.0.0.1:{receiver.port}"
    predictor["graph"]["logger"] = {"mode": "all", "url": f"{url}/named"}
    predictor["graph"]["children"][0]["logger"] = {"mode": "all"}
    predictor["svcOrchSpec"] = {"env": [{"name": "REQUEST_LOGGER_DEFAULT_ENDPOINT", "value": f"{url}/default"}]}
    for _ in deployed(platform, manifest):
        yield receiver


def test_photo_through_the_gateway_is_six_events(platform: Platform, logged: Receiver) -> None:
    status, answer, _ = post(platform, photo(PHOTO), "image/jpeg", name=NAME, **{"Seldon-Puid": "rest-1"})
    assert status == 200
    events = logged.wait_for("rest-1")
    assert sorted(event.what for event in events) == EVENTS
    assert len({event.headers["ce-id"] for event in events}) == len(EVENTS)
    for event in events:
        assert event.path == ("/named" if event.what[0] == TRANSFORMER else "/default")
        found = event.headers
        assert (found["ce-specversion"], found["ce-source"]) == ("1.0", "http://:8000/")
        assert (found["ce-inferenceservicename"], found["ce-namespace"]) == (NAME, "default")
        assert (found["ce-endpoint"], found["ce-protocol"]) == ("default", "seldon")
    photos = [event for event in events if event.headers["content-type"] == "image/jpeg"]
    assert [(event.what, event.body) for event in photos] == [((TRANSFORMER, REQUEST), photo(PHOTO))]
    (answered,) = [event for event in events if event.what == (DETECTOR, RESPONSE)]
    assert json.loads(answered.body)["jsonData"] == answer["jsonData"]


def test_tensors_between_our_own_nodes_are_json_in_the_log(platform: Platform, logged: Receiver) -> None:
    """They travel as protobuf there."""
    post(platform, photo(PHOTO), "image/jpeg", name=NAME, **{"Seldon-Puid": "wire-1"})
    (asked,) = [event for event in logged.wait_for("wire-1") if event.what == (DETECTOR, REQUEST)]
    assert asked.headers["content-type"] == "application/json"
    assert base64.b64decode(json.loads(asked.body)["binData"])


def test_grpc_is_logged_as_rest_is(platform: Platform, logged: Receiver) -> None:
    with grpc.insecure_channel(platform.gateway) as channel:
        stubs.SeldonStub(channel).Predict(
            pb.SeldonMessage(binData=photo(PHOTO)),
            metadata=[("seldon", NAME), ("namespace", "default"), ("seldon-puid", "grpc-1")],
            timeout=CALL_TIMEOUT_S,
        )
    events = logged.wait_for("grpc-1")
    assert sorted(event.what for event in events) == EVENTS
    assert {event.headers["content-type"] for event in events} == {"application/json"}
    sent = [base64.b64decode(json.loads(event.body).get("binData", "")) for event in events]
    assert sent.count(photo(PHOTO)) == 1


def test_request_that_asks_for_no_log_has_none(platform: Platform, logged: Receiver) -> None:
    skip = {"Seldon-Puid": "skipped-1", "Seldon-Skip-Logging": "true"}
    assert post(platform, photo(PHOTO), "image/jpeg", name=NAME, **skip)[0] == 200
    post(platform, photo(PHOTO), "image/jpeg", name=NAME, **{"Seldon-Puid": "after-1"})
    logged.wait_for("after-1")
    assert logged.of("skipped-1") == []
