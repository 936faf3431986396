"""Rows 91 to 93 and 95 to 97 of docs/compatibility.md: facts, metrics and the process, under both start commands."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from tests.conformance.conftest import COMPONENTS, Serve, Start
from tests.conformance.servers import ANNOTATIONS, Server
from tests.conformance.verdicts import better, same
from tests.waiting import wait_until

pytestmark = pytest.mark.conformance

STR = {"strData": "x"}
END_S = 10.0
"""A process that has nothing to do ends well within it."""


@same(91)
def test_row_91_ping_and_status_answer_without_a_health_hook(serve: Serve):
    assert serve("rows.Echo").ask("/health/ping") == (200, "pong")
    for path in ("/health/status", "/api/v1.0/health/status"):
        assert serve("rows.Echo").ask(path)[1]["strData"] == "healthy"
        assert serve("rows.NoHooksComponent").ask(path)[1]["strData"] == "not implemented - assuming healthy"


@same(91)
def test_row_91_status_is_what_the_health_hook_returns(serve: Serve):
    status, reply = serve("rows.HealthText").ask("/health/status")
    assert (status, reply["data"]["tensor"]["values"], reply["data"]["names"]) == (200, [1.0], ["up"])
    assert serve("rows.HealthRaw").ask("/health/status") == (200, {"strData": "raw health"})


@same(91)
def test_row_91_seldon_json_is_the_document_of_the_paths(serve: Serve):
    status, document = serve("rows.Echo").ask("/seldon.json")
    assert status == 200
    assert "/predict" in document["paths"]


@better(91)
def test_row_91_health_answers_while_the_model_computes(serve: Serve, tmp_path: Path):
    echo, begun, release = serve("rows.Echo", FOR="health"), tmp_path / "begun", tmp_path / "release"
    computing = threading.Thread(target=echo.ask, args=("/predict", {"strData": f"hold {begun} {release}"}))
    computing.start()
    try:
        wait_until(begun.exists, timeout_s=20)
        pinged = echo.ask("/health/ping", timeout_s=3)
    finally:
        release.touch()
        computing.join(30)
    assert pinged == (200, "pong")


def _described(serve: Serve, metadata: Any, **environment: str) -> Server:
    parameters = [{"name": "metadata", "value": json.dumps(metadata), "type": "STRING"}]
    return serve("rows.Described", PREDICTIVE_UNIT_PARAMETERS=json.dumps(parameters), **environment)


OWN = {"name": "own", "versions": ["7"], "platform": "test"}


@same(92)
def test_row_92_metadata_defaults_come_from_the_image_and_its_registry_may_have_a_port(serve: Serve):
    for path in ("/metadata", "/api/v1.0/metadata"):
        status, metadata = serve("rows.Echo").ask(path)
        assert (status, metadata["name"], metadata["versions"]) == (200, "registry.example:5000/clf", ["0.1"])
        assert (metadata["platform"], metadata["inputs"], metadata["outputs"]) == ("", [], [])
    told = serve("rows.Echo").call(stubs.ModelStub, "Metadata", empty_pb2.Empty())
    assert (told.name, list(told.versions)) == ("registry.example:5000/clf", ["0.1"])


@same(92)
@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("", ("own", ["7"], "test")),
        ('{"name": "of JSON", "versions": ["8"]}', ("of JSON", ["8"], "test")),
        ("name: of YAML\nversions: ['9']\n", ("of YAML", ["9"], "test")),
    ],
    ids=["method", "json", "yaml"],
)
def test_row_92_metadata_of_the_variable_wins_over_the_method_s(serve: Serve, override: str, expected: Any):
    described = _described(serve, OWN, **({"MODEL_METADATA": override} if override else {}))
    _, metadata = described.ask("/metadata")
    assert (metadata["name"], metadata["versions"], metadata["platform"]) == expected
    assert described.call(stubs.ModelStub, "Metadata", empty_pb2.Empty()).name == expected[0]


TAKEN = {
    "inputs": [{"name": "x", "datatype": "BYTES", "shape": [1, -1]}, {"messagetype": "binData"}],
    "outputs": [
        {"messagetype": "tensor", "schema": {"names": ["a"], "shape": [2]}},
        {"messagetype": "jsonData", "schema": {"type": "string"}},
        {"messagetype": "my own", "schema": {"anything": [1]}},
    ],
    "custom": {"key": "value"},
}
REFUSED = {
    "versions no list": {"versions": "1"},
    "version a number": {"versions": [1]},
    "unknown field": {"unknown": 1},
    "unknown datatype": {"inputs": [{"name": "x", "datatype": "FP128", "shape": [1]}]},
    "shape of fractions": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1.5]}]},
    "schema of a text": {"outputs": [{"messagetype": "strData", "schema": {"names": ["a"]}}]},
    "name of a tensor's column a number": {"outputs": [{"messagetype": "tensor", "schema": {"names": [1]}}]},
}


@same(92)
def test_row_92_schema_takes_v2_tensors_and_messages(serve: Serve):
    status, metadata = _described(serve, TAKEN).ask("/metadata")
    assert (status, {name: metadata[name] for name in TAKEN}) == (200, TAKEN)


@same(92)
@pytest.mark.parametrize("case", REFUSED)
def test_row_92_metadata_that_does_not_fit_is_500_while_prediction_works(serve: Serve, case: str):
    described = _described(serve, REFUSED[case])
    status, reply = described.ask("/metadata")
    assert (status, reply["status"]["reason"]) == (500, "MICROSERVICE_BAD_METADATA")
    assert reply["status"]["info"].startswith("Model metadata unavailable")
    assert described.ask("/predict", STR)[0] == 200


def _samples(served: Server, name: str) -> dict[str, float]:
    """Labels → value of the samples called ``name``."""
    lines = [line for line in served.metrics_text().splitlines() if line.startswith(f"{name}{{")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def _measure(served: Server, *asked: str) -> None:
    for what in asked:
        assert served.ask("/predict", {"strData": what})[0] == 200


@same(93)
def test_row_93_counters_add_up_gauges_overwrite_and_timers_fill_buckets(serve: Serve):
    measured = serve("rows.Measured", FOR="kinds")
    _measure(measured, "counter 1", "counter 2.5", "gauge 5", "gauge 3", "timer 2000", "timer 20")
    assert list(_samples(measured, "counter_seen_total").values()) == [3.5]
    assert list(_samples(measured, "gauge_seen").values()) == [3]
    assert list(_samples(measured, "timer_seen_sum").values()) == [2.02]
    assert list(_samples(measured, "timer_seen_count").values()) == [2]
    buckets = _samples(measured, "timer_seen_bucket")
    assert len(buckets) == 51
    assert sorted(set(buckets.values())) == [0, 1, 2]


@same(93)
def test_row_93_tag_sets_and_methods_are_series_of_their_own(serve: Serve):
    measured = serve("rows.Measured", FOR="tags")
    _measure(measured, "gauge 1", "gauge:tagged 2")
    series = _samples(measured, "gauge_seen")
    assert sorted(series.values()) == [1, 2]
    assert sum('colour="red"' in labels for labels in series) == 1
    assert all('method="predict"' in labels and 'model_name="clf"' in labels for labels in series)


@same(93)
def test_row_93_metrics_are_hidden_from_clients_when_the_variable_says_so(serve: Serve):
    hidden = serve("rows.Measured", INCLUDE_METRICS_IN_CLIENT_RESPONSE="false")
    status, reply = hidden.ask("/predict", {"strData": "gauge 4"})
    assert (status, "metrics" in reply["meta"]) == (200, False)
    assert list(_samples(hidden, "gauge_seen").values()) == [4]
    assert "metrics" in serve("rows.Measured", FOR="kinds").ask("/predict", {"strData": "gauge 4"})[1]["meta"]


@same(93)
def test_row_93_hangup_replaces_the_worker_and_clears_its_metrics(serve: Serve):
    measured = serve("rows.Measured", FOR="hangup")
    _measure(measured, "counter 1", "counter 1")
    measured.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not _cleared_samples(measured), timeout_s=20, what="the old worker's end")
    wait_until(lambda: measured.ask("/predict", {"strData": "counter 1"})[0] == 200, timeout_s=20)
    assert measured.process.poll() is None


def _cleared_samples(served: Server) -> bool:
    """Whether the old samples are there, or nobody answers yet."""
    try:
        return bool(_samples(served, "counter_seen_total"))
    except AssertionError:
        return True


@better(93)
def test_row_93_both_protocols_count_in_one_series(serve: Serve):
    measured = serve("rows.Measured", FOR="both")
    _measure(measured, "counter 1")
    measured.call(stubs.ModelStub, "Predict", pb.SeldonMessage(strData="counter 1"))
    assert list(_samples(measured, "counter_seen_total").values()) == [2]
    assert measured.metrics_text().count("# TYPE counter_seen") == 1


@better(93)
def test_row_93_bad_name_of_a_metric_does_not_break_the_endpoint(serve: Serve):
    measured = serve("rows.Measured", FOR="bad name")
    status, reply = measured.ask("/predict", {"strData": "counter:bad 1"})
    assert (status, reply.get("status", {}).get("reason")) == (500, "MICROSERVICE_BAD_METRIC")
    assert "gauge_seen" not in measured.metrics_text()


UNREADABLE = [
    {"name": "count", "value": "many", "type": "INT"},
    {"name": "share", "value": "half", "type": "FLOAT"},
    {"name": "on", "value": "perhaps", "type": "BOOL"},
    {"name": "list", "value": "[]", "type": "LIST"},
]


def _ended(start: Start, parameter: dict[str, str]) -> Server:
    server = start("rows.Parameters", COMPONENTS, PREDICTIVE_UNIT_PARAMETERS=json.dumps([parameter]))
    wait_until(lambda: server.process.poll() is not None, timeout_s=30, what="the end")
    return server


@same(95)
@pytest.mark.parametrize("parameter", UNREADABLE, ids=lambda one: one["type"])
def test_row_95_parameter_that_does_not_parse_ends_the_process(start: Start, parameter: dict[str, str]):
    assert _ended(start, parameter).process.returncode != 0


@better(95)
@pytest.mark.parametrize("parameter", UNREADABLE, ids=lambda one: one["type"])
def test_row_95_one_line_names_the_parameter_that_does_not_parse(start: Start, parameter: dict[str, str]):
    lines = _ended(start, parameter).text().splitlines()
    assert len(lines) == 1
    assert f"({parameter['name']})" in lines[0]


@same(95)
def test_row_95_parameters_have_their_types(serve: Serve):
    given = [
        ("i", "3", "INT"),
        ("f", "0.5", "FLOAT"),
        ("d", "2", "DOUBLE"),
        ("s", "text", "STRING"),
        ("b", "y", "BOOL"),
    ]
    parameters = [{"name": name, "value": value, "type": kind} for name, value, kind in given]
    status, reply = serve("rows.Parameters", PREDICTIVE_UNIT_PARAMETERS=json.dumps(parameters)).ask("/predict", STR)
    assert (status, reply["jsonData"]) == (200, {"i": 3, "f": 0.5, "d": 2.0, "s": "text", "b": True})


@same(95)
def test_row_95_annotation_may_hold_an_equals_sign(serve: Serve, tmp_path: Path):
    file = tmp_path / "annotations"
    file.write_text('team="a=b"\nseldon.io/grpc-max-message-size="100"\n')
    echo = serve("rows.Echo", **{ANNOTATIONS: str(file)})
    assert echo.ask("/predict", STR)[0] == 200
    refused = echo.call(stubs.ModelStub, "Predict", pb.SeldonMessage(strData="x" * 200))
    assert isinstance(refused, grpc.RpcError)
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@same(96)
def test_row_96_process_answers_rest_grpc_and_metrics_on_their_ports(serve: Serve):
    echo = serve("rows.Echo", PREDICTIVE_UNIT_METRICS_ENDPOINT="/prometheus")
    assert echo.ask("/predict", STR)[1]["strData"] == "x"
    assert echo.call(stubs.ModelStub, "Predict", pb.SeldonMessage(strData="x")).strData == "x"
    echo.metrics_text("/prometheus")


@same(96)
def test_row_96_class_of_a_sub_module_is_served(serve: Serve):
    assert serve("deep.inside.model.Model").ask("/predict", STR)[1]["strData"] == "from deep inside"


@better(96)
def test_row_96_one_load_serves_both_protocols(start: Start, tmp_path: Path):
    server = start("rows.Echo", COMPONENTS, LOADS=str(tmp_path / "loads"))
    server.wait_ready()
    server.ask("/predict", STR)
    server.call(stubs.ModelStub, "Predict", pb.SeldonMessage(strData="x"))
    assert (tmp_path / "loads").read_text() == "load "


@better(96)
def test_row_96_sigterm_ends_the_process_with_0(start: Start):
    server = start("rows.Echo", COMPONENTS)
    server.wait_ready()
    server.process.terminate()
    wait_until(lambda: server.process.poll() is not None, timeout_s=END_S, what="the end")
    assert server.process.returncode == 0


@same(97)
def test_row_97_storage_takes_file_urls_and_plain_paths_and_no_other_scheme(serve: Serve, tmp_path: Path):
    stored = serve("rows.Stored")
    assert stored.ask("/predict", {"strData": str(tmp_path)})[1]["strData"] == str(tmp_path)
    assert stored.ask("/predict", {"strData": f"file://{tmp_path}"})[1]["strData"] == str(tmp_path)
    for uri in ("s3://bucket/model", "gs://bucket/model", "models:/yolo/3"):
        status, reply = stored.ask("/predict", {"strData": uri})
        assert status == 500
        assert f"Cannot recognize storage type for {uri}" in reply["status"]["info"]
    status, reply = stored.ask("/predict", {"strData": "file:///no/such/path"})
    assert (status, reply["status"]["info"]) == (500, "Local path file:///no/such/path does not exist.")
