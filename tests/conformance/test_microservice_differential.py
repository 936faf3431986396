"""One class under the official server and under ours: replies are compared field by field.

Expected differences are listed in the cases themselves; everything else is equal.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf import empty_pb2

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from slipway.serving.messages import feedback_to_proto, to_proto
from tests.conformance.conftest import COMPONENTS
from tests.conformance.servers import Reply, Server

pytestmark = pytest.mark.conformance

PARAMETERS = json.dumps(
    [
        {"name": "scale", "value": "0.5", "type": "FLOAT"},
        {"name": "label", "value": "x", "type": "STRING"},
        {"name": "count", "value": "3", "type": "INT"},
        {"name": "on", "value": "true", "type": "BOOL"},
    ]
)

META = {
    "puid": "p1",
    "tags": {"in": "tag", "number": 1.5, "nested": {"a": [True, None]}},
    "requestPath": {"first": "img:1"},
    "metrics": [{"type": "GAUGE", "key": "earlier", "value": 2.0}],
}
MESSAGES: dict[str, dict[str, Any]] = {
    "ndarray-floats": {"data": {"names": ["a", "b"], "ndarray": [[1.5, 2.5]]}},
    "ndarray-integers": {"data": {"names": ["a", "b"], "ndarray": [[1, 2], [3, 4]]}},
    "ndarray-vector": {"data": {"ndarray": [1.5, 2.5]}},
    "ndarray-strings": {"data": {"names": ["a"], "ndarray": [["x", "y"]]}},
    "ndarray-mixed": {"data": {"ndarray": [["x", 1]]}},
    "ndarray-empty": {"data": {"ndarray": []}},
    "ndarray-cube": {"data": {"ndarray": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}},
    "tensor": {"data": {"names": ["a", "b"], "tensor": {"shape": [1, 2], "values": [1.5, 2.5]}}},
    "tensor-integers": {"data": {"tensor": {"shape": [2, 1], "values": [1, 2]}}},
    "binData": {"binData": base64.b64encode(bytes(range(256))).decode()},
    "binData-empty": {"binData": ""},
    "strData": {"strData": "snowman ☃"},
    "strData-empty": {"strData": ""},
    "jsonData": {"jsonData": {"a": [1.5, "x", None, True], "b": {"c": {}}}},
    "meta": {"meta": META, "data": {"ndarray": [[1.5]]}},
    "meta-str": {"meta": META, "strData": "x"},
}


class Both:
    """Asks both servers the same."""

    def __init__(self, *servers: Server) -> None:
        self.servers = servers

    def rest(self, path: str, body: Any = None, **options: Any) -> list[Reply]:
        return [server.ask(path, body, **options) for server in self.servers]

    def call(self, stub: Any, method: str, message: Any) -> list[Any]:
        return [server.call(stub, method, message) for server in self.servers]

    def metrics(self) -> list[str]:
        return [server.metrics_text() for server in self.servers]


@pytest.fixture(scope="module")
def plain(start_official, start_ours):
    return _started(start_official, start_ours, "Plain")


@pytest.fixture(scope="module")
def rich(start_official, start_ours):
    return _started(start_official, start_ours, "Rich", PREDICTIVE_UNIT_PARAMETERS=PARAMETERS)


def _started(start_official, start_ours, interface: str, **environment: str) -> Both:
    official = start_official(interface, COMPONENTS, **environment)
    ours = start_ours(interface, COMPONENTS, **environment)
    official.wait_ready()
    ours.wait_ready()
    return Both(official, ours)


@pytest.fixture(scope="module")
def own(start_official, start_ours):
    return _started(start_official, start_ours, "Own")


@pytest.mark.parametrize("name", ["datetime", "aware", "date", "uuid", "decimal", "nested", "days", "seconds"])
def test_values_that_json_does_not_have_are_equal_and_so_is_what_is_of_a_thread(own: Both, name: str):
    official, ours = own.rest("/predict", {"strData": name})
    assert official[0] == 200
    assert ours == official


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("path", ["/predict", "/transform-input", "/transform-output", "/route"])
def test_rest_replies_are_equal(plain: Both, path: str, name: str):
    official, ours = plain.rest(path, MESSAGES[name])
    assert official[0] == 200
    assert ours == official


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize(
    ("stub", "method"),
    [
        (stubs.ModelStub, "Predict"),
        (stubs.SeldonStub, "Predict"),
        (stubs.TransformerStub, "TransformInput"),
        (stubs.OutputTransformerStub, "TransformOutput"),
        (stubs.RouterStub, "Route"),
        (stubs.GenericStub, "TransformInput"),
    ],
)
def test_grpc_replies_are_equal(plain: Both, stub: Any, method: str, name: str):
    official, ours = plain.call(stub, method, to_proto(MESSAGES[name]))
    assert isinstance(official, pb.SeldonMessage)
    assert ours == official


AGGREGATES = [
    [MESSAGES["ndarray-floats"], MESSAGES["ndarray-floats"]],
    [MESSAGES["meta"], {**MESSAGES["meta"], "meta": {"tags": {"in": "later"}, "requestPath": {"second": "i"}}}],
    [MESSAGES["tensor"]],
]


@pytest.mark.parametrize("messages", AGGREGATES, ids=["two", "meta", "one"])
def test_aggregate_replies_are_equal(plain: Both, messages: list[dict[str, Any]]):
    for body in (messages, {"seldonMessages": messages}):
        official, ours = plain.rest("/aggregate", body)
        assert official[0] == 200
        assert ours == official
    sent = pb.SeldonMessageList(seldonMessages=map(to_proto, messages))
    official, ours = plain.call(stubs.CombinerStub, "Aggregate", sent)
    assert isinstance(official, pb.SeldonMessage)
    assert ours == official


@pytest.mark.parametrize("name", ["ndarray-floats", "tensor", "strData", "meta"])
def test_tags_metrics_and_names_are_equal(rich: Both, name: str):
    official, ours = rich.rest("/predict", MESSAGES[name])
    assert _sorted_metrics(ours[1]) == _sorted_metrics(official[1])
    official, ours = rich.call(stubs.ModelStub, "Predict", to_proto(MESSAGES[name]))
    assert ours == official


def _sorted_metrics(reply: dict[str, Any]) -> dict[str, Any]:
    metrics = sorted(reply["meta"].pop("metrics"), key=json.dumps)
    return {**reply, "metrics": metrics}


def test_parameters_are_parsed_alike(rich: Both):
    official, ours = rich.rest("/transform-input", {"strData": "x"})
    assert official[1]["jsonData"] == {"scale": 0.5, "label": "x", "count": 3, "on": True}
    assert ours == official


FEEDBACK = {
    "request": {"meta": {"puid": "p"}, "data": {"names": ["a"], "ndarray": [[1.0]]}},
    "response": {"meta": {"routing": {"clf": 2}}, "data": {"ndarray": [1.0]}},
    "reward": 0.5,
    "truth": {"data": {"tensor": {"shape": [1], "values": [1.0]}}},
}


@pytest.mark.parametrize("feedback", [FEEDBACK, {"reward": 1.0}, {}], ids=["full", "reward", "empty"])
def test_feedback_replies_are_equal(plain: Both, rich: Both, feedback: dict[str, Any]):
    for both in (plain, rich):
        official, ours = both.rest("/send-feedback", feedback)
        assert official[0] == 200
        assert ours == official
        official, ours = both.call(stubs.ModelStub, "SendFeedback", feedback_to_proto(feedback))
        assert isinstance(official, pb.SeldonMessage)
        assert ours == official


def test_facts_are_equal(plain: Both, rich: Both):
    for both in (plain, rich):
        for path in ("/metadata", "/api/v1.0/metadata", "/health/status"):
            official, ours = both.rest(path)
            assert official[0] == 200
            assert ours == official
        official, ours = both.call(stubs.ModelStub, "Metadata", empty_pb2.Empty())
        assert isinstance(official, pb.SeldonModelMetadata)
        assert ours == official


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", {}),
        ("/predict", {"customData": {}}),
        ("/predict", []),
        ("/route", {"unknown": 1}),
        ("/aggregate", {"data": {"ndarray": [1]}}),
        ("/aggregate", [{}]),
        ("/send-feedback", {"unknown": 1}),
    ],
)
def test_client_errors_have_the_same_status_and_reason(plain: Both, path: str, body: Any):
    official, ours = plain.rest(path, body)
    assert official[0] == 400
    for reply in (official, ours):
        reply[1]["status"].pop("info")
    assert ours == official


def test_metric_series_are_equal_but_for_the_worker(rich: Both):
    rich.rest("/predict", MESSAGES["strData"])
    official, ours = (
        {_series(line) for line in text.splitlines() if line and line[0] != "#"} for text in rich.metrics()
    )
    assert {one for one in ours if not one[0].startswith("slipway_")} == official


def _series(line: str) -> tuple[str, tuple[str, ...]]:
    """Name and labels; bucket edges to ten digits, numpy's own last digits differ between its versions."""
    name, _, rest = line.partition("{")
    labels = [label for label in rest.partition("}")[0].split(",") if not label.startswith("worker_id")]
    edges = [f"le={float(label[4:-1]):.10g}" for label in labels if label.startswith("le=")]
    return name, tuple(sorted([*edges, *(label for label in labels if not label.startswith("le="))]))
