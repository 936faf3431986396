"""Traces of a component as a collector receives them, and of a whole graph of processes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from tests.data import REPOSITORY
from tests.ports import free_ports
from tests.serving.collector import CLIENT, SERVER, Collector, collecting
from tests.waiting import wait_until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
ECHO = """
class Mod:
    def predict(self, X, names=None, meta=None):
        return X
    transform_input = predict
"""
OWN_SPAN = """
from opentelemetry import trace
class Mod:
    def predict(self, X, names=None):
        with trace.get_tracer("mine").start_as_current_span("network"):
            return X
"""
FAILS = """
class Mod:
    def predict(self, X, names=None):
        raise ValueError("s3cret")
"""
V2 = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [1.0]}]}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as started:
        yield started


def ask(address: str, path: str, body: object = None, **headers: str) -> int:
    data = None if body is None else json.dumps(body).encode()
    told = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(f"http://{address}{path}", data, told)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def text_of(address: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=20) as response:
        text: str = response.read().decode()
        return text


def test_hooks_are_spans_below_their_caller_s_over_both_wires(start_process, collector):
    process = start_process(ECHO, **collector.environment(PREDICTIVE_UNIT_ID="clf", SELDON_DEPLOYMENT_ID="dep"))
    rest, target, _ = process.ready()
    assert ask(rest, "/predict", {"data": {"ndarray": [[1]]}}, traceparent=TRACEPARENT, **{"Seldon-Puid": "p"}) == 200
    assert ask(rest, "/v2/models/clf/infer", V2, traceparent=TRACEPARENT) == 200
    with grpc.insecure_channel(target) as channel:
        stubs.ModelStub(channel).Predict(
            pb.SeldonMessage(strData="x"), timeout=10, metadata=(("traceparent", TRACEPARENT), ("seldon-puid", "p"))
        )
    collector.received(3)
    assert {(span.trace, span.parent, span.kind, span.is_error) for span in collector.spans} == {
        (TRACE, PARENT, SERVER, False)
    }
    predict = collector.one("/predict")
    assert predict.about["http.route"] == "/predict"
    assert predict.about["http.response.status_code"] == 200
    assert predict.about["seldon.puid"] == collector.one("/seldon.protos.Model/Predict").about["seldon.puid"] == "p"
    assert collector.one("/v2/models/{model}/infer").about["http.response.status_code"] == 200
    assert {(span.service, span.resource["seldon.node"], span.resource["seldon.deployment"])
            for span in collector.spans} == {("Mod", "clf", "dep")}  # fmt: skip


def test_health_metadata_and_metrics_make_no_span(start_process, collector):
    process = start_process(ECHO, PREDICTIVE_UNIT_METRICS_ENDPOINT="/prometheus", **collector.environment())
    rest, _, metrics = process.ready()
    for path in ("/health/status", "/metadata", "/health/ping", "/v2/health/ready", "/seldon.json"):
        assert ask(rest, path) == 200
    assert ask(rest, "/predict", {"strData": "x"}) == 200
    collector.received(1)
    wait_until(lambda: "} 1.0" in line_of(text_of(metrics, "/prometheus"), 'outcome="sent"'))
    assert 'worker_id="0"' in line_of(text_of(metrics, "/prometheus"), 'outcome="sent"')


def line_of(text: str, part: str) -> str:
    return next(line for line in text.splitlines() if part in line)


def test_component_s_own_span_is_a_child_of_its_request(start_process, collector):
    process = start_process(OWN_SPAN, **collector.environment())
    rest, target, _ = process.ready()
    assert ask(rest, "/predict", {"strData": "x"}, traceparent=TRACEPARENT) == 200
    with grpc.insecure_channel(target) as channel:
        stubs.ModelStub(channel).Predict(pb.SeldonMessage(strData="x"), timeout=10)
    collector.received(4)
    served = {span.id for span in collector.spans if span.kind == SERVER}
    own = [span for span in collector.spans if span.name == "network"]
    assert {span.parent for span in own} == served
    assert TRACE in {span.trace for span in own}


def test_span_of_a_shared_call_is_below_no_single_request(start_process, collector):
    process = start_process(OWN_SPAN, "--max-batch", "4", **collector.environment())
    rest, _, _ = process.ready()
    assert ask(rest, "/predict", {"data": {"ndarray": [[1]]}}, traceparent=TRACEPARENT) == 200
    collector.received(2)
    assert collector.one("/predict").parent == PARENT
    own = collector.one("network")
    assert (own.parent, own.trace != TRACE) == ("", True)


def test_component_s_error_is_recorded_by_its_code_only(start_process, collector):
    process = start_process(FAILS, **collector.environment())
    rest, target, _ = process.ready()
    assert ask(rest, "/predict", {"strData": "s3cret"}, Authorization="Bearer s3cret") == 500
    assert ask(rest, "/predict", {}) == 400
    with grpc.insecure_channel(target) as channel, pytest.raises(grpc.RpcError) as failed:
        stubs.ModelStub(channel).Predict(pb.SeldonMessage(strData="x"), timeout=10)
    collector.received(3)
    by_status = {span.about.get("http.response.status_code", "grpc"): span for span in collector.spans}
    assert (by_status[500].is_error, by_status[400].is_error, by_status["grpc"].is_error) == (True, False, True)
    assert by_status[400].about["error.type"] == "MICROSERVICE_BAD_DATA"
    assert by_status["grpc"].about["rpc.grpc.status_code"] == failed.value.code().value[0]
    assert by_status[500].about["error.type"] == by_status["grpc"].about["error.type"] == "MICROSERVICE_INTERNAL_ERROR"
    assert not [span.text for span in collector.spans if "s3cret" in span.text]


def test_seldon_s_switch_and_configuration_file(start_process, collector, tmp_path: Path):
    """``--tracing`` with JAEGER_CONFIG_PATH, as Seldon's own test of a component has it."""
    config = tmp_path / "tracing.yaml"
    config.write_text(
        "sampler: {type: const, param: 1}\nlocal_agent: {reporting_host: 127.0.0.1, reporting_port: 6831}\n"
        "logging: true\npropagation: b3\ntags: {team: seven}\n"
    )
    process = start_process(
        ECHO, "--tracing", JAEGER_CONFIG_PATH=str(config), JAEGER_EXTRA_TAGS="url_rule,data",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_BSP_SCHEDULE_DELAY="50",
    )  # fmt: skip
    rest, _, _ = process.ready()
    assert (
        ask(rest, "/predict", {"strData": "x"}, **{"X-B3-TraceId": TRACE, "X-B3-SpanId": PARENT, "X-B3-Sampled": "1"})
        == 200
    )
    span = collector.received(1)[0]
    assert (span.trace, span.parent, span.resource["team"]) == (TRACE, PARENT, "seven")
    log = process.text()
    assert "tracing.yaml: logging: no effect here" in log
    assert "JAEGER_EXTRA_TAGS: data of a request is not recorded" in log


def test_agent_s_host_becomes_an_otlp_address(start_process):
    process = start_process(ECHO, TRACING="1", JAEGER_AGENT_HOST="127.0.0.9", JAEGER_AGENT_PORT="5775")
    rest, _, _ = process.ready()
    assert "spans are sent as OTLP to http://127.0.0.9:4317" in process.text()
    assert ask(rest, "/predict", {"strData": "x"}) == 200


def test_nothing_of_opentelemetry_is_imported_without_tracing(start_process):
    source = """
import sys
class Mod:
    def predict(self, X, names=None):
        return {"modules": [name for name in sys.modules if name.startswith(("opentelemetry", "google.rpc"))]}
"""
    rest, _, _ = start_process(source, JAEGER_AGENT_HOST="jaeger").ready()
    request = urllib.request.Request(f"http://{rest}/predict", b'{"strData":"x"}', {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as response:
        assert json.loads(response.read())["jsonData"] == {"modules": []}


def test_settings_that_make_no_sense_end_the_process_with_one_line(start_process):
    process = start_process(ECHO, TRACING="1", OTEL_EXPORTER_OTLP_PROTOCOL="http/json")
    assert process.wait() == 2
    assert re.fullmatch(
        r"slipway\.microservice: OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' is not offered; .*\n", process.text()
    )


def test_missing_packages_are_named(start_process, tmp_path: Path):
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("")
    process = start_process(ECHO, TRACING="1", PYTHONPATH=f"{tmp_path}:{REPOSITORY}")
    assert process.wait() == 1
    assert "traces are switched on, and " in process.text()
    assert "requirements/serving.in" in process.text()


def test_end_of_the_process_sends_what_waits(start_process, collector):
    environment = collector.environment()
    process = start_process(ECHO, **{**environment, "OTEL_BSP_SCHEDULE_DELAY": "600000"})
    rest, _, _ = process.ready()
    assert ask(rest, "/predict", {"strData": "x"}) == 200
    process.send(signal.SIGTERM)
    assert process.wait() == 0
    collector.received(1)


def test_end_of_the_process_does_not_wait_for_a_collector_that_hangs(start_process, collector):
    collector.released.clear()
    process = start_process(ECHO, **collector.environment(OTEL_EXPORTER_OTLP_TIMEOUT="60"))
    rest, _, _ = process.ready()
    for _ in range(3):
        assert ask(rest, "/predict", {"strData": "x"}) == 200
    wait_until(lambda: collector.headers)
    process.send(signal.SIGTERM)
    assert process.wait(timeout_s=12) == 0  # the collector holds on for 15 s
    assert collector.spans == []


GRAPH = {
    "name": "pre", "type": "TRANSFORMER", "children": [{"name": "clf", "type": "MODEL", "children": []}],
}  # fmt: skip


def test_graph_of_processes_is_one_trace(start_process, collector, tmp_path: Path):
    """Client → executor → two components, each a process of its own: five spans, each below the one that called it."""
    names = {"pre": GRAPH, "clf": GRAPH["children"][0]}
    for name, unit in names.items():
        rest, target, _ = start_process(ECHO, **collector.environment(OTEL_SERVICE_NAME=name)).ready()
        ports = {"httpPort": int(rest.rpartition(":")[2]), "grpcPort": int(target.rpartition(":")[2])}
        unit["endpoint"] = {"service_host": "127.0.0.1", "service_port": ports["httpPort"], **ports}
    predictor = tmp_path / "predictor.json"
    predictor.write_text(json.dumps({"name": "main", "graph": GRAPH, "componentSpecs": []}))
    http, rpc = free_ports(2)
    argv = ["--predictor-file", str(predictor), "--http_port", str(http), "--grpc_port", str(rpc)]
    environment = {"SLIPWAY_POD_IP": "127.0.0.1", **collector.environment()}
    executor = subprocess.Popen([sys.executable, "-m", "slipway.executor", *argv], cwd=REPOSITORY, env=environment)
    try:
        wait_until(lambda: is_ready(http), timeout_s=30, what="the executor")
        assert ask(f"127.0.0.1:{http}", "/api/v1.0/predictions", {"strData": "x"}, traceparent=TRACEPARENT) == 200
        collector.received(5)
        check_chain(collector, "predictions", "/transform-input", "/predict")
        collector.spans.clear()
        with grpc.insecure_channel(f"127.0.0.1:{rpc}") as channel:
            sent = (("traceparent", TRACEPARENT),)
            stubs.SeldonStub(channel).Predict(pb.SeldonMessage(strData="x"), timeout=10, metadata=sent)
        collector.received(5)
        owner = "/seldon.protos"
        check_chain(
            collector, f"{owner}.Seldon/Predict", f"{owner}.Transformer/TransformInput", f"{owner}.Model/Predict"
        )
    finally:
        executor.terminate()
        assert executor.wait(20) == 0


def is_ready(port: int) -> bool:
    try:
        return ask(f"127.0.0.1:{port}", "/ready") == 200
    except OSError:
        return False


def check_chain(collector: Collector, server: str, first: str, second: str) -> None:
    """The executor's span below the client's, its calls below it, and the components' below the calls."""
    assert {span.trace for span in collector.spans} == {TRACE}
    root = collector.one(server)
    assert (root.service, root.parent) == ("executor", PARENT)
    for path, node in ((first, "pre"), (second, "clf")):
        found = {(span.service, span.kind): span for span in collector.spans if span.name == path}
        assert found.keys() == {("executor", CLIENT), (node, SERVER)}
        assert found["executor", CLIENT].parent == root.id
        assert found[node, SERVER].parent == found["executor", CLIENT].id
