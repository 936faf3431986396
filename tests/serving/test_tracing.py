"""Tracing's settings, the queue of spans with its counts, and contexts that anybody may send."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from slipway.serving import tracing_queue
from slipway.serving.tracing import OFF, open_tracing
from slipway.serving.tracing_jaeger import TracingError, asks_for_jaeger, read_jaeger
from slipway.serving.tracing_queue import SpanCounts, SpanQueue
from slipway.serving.tracing_settings import PROPAGATORS, TracingSettings, read_tracing
from slipway.serving.tracing_spans import SpanTracing
from tests.data import REPOSITORY

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}


def read(*, asked: bool = False, **environment: str) -> TracingSettings | None:
    return read_tracing(environment, asked=asked, service="executor", resource={"seldon.deployment": "dep"})


def on(**environment: str) -> TracingSettings:
    settings = read(asked=True, **environment)
    assert settings is not None
    return settings


@pytest.mark.parametrize(
    ("asked", "environment", "is_on"),
    [
        (False, {}, False),
        (True, {}, True),
        (False, ENDPOINT, True),
        (False, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector"}, True),
        (False, {"OTEL_TRACES_EXPORTER": "otlp"}, True),
        (True, {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        (True, {**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
        (True, {"JAEGER_DISABLED": "true", "JAEGER_AGENT_HOST": "jaeger"}, False),
        (True, {"JAEGER_DISABLED": "true", **ENDPOINT}, True),
    ],
)
def test_traces_are_sent_where_they_are_asked_for(asked, environment, is_on):
    assert (read(asked=asked, **environment) is not None) is is_on


def test_settings_have_the_standard_s_defaults():
    assert on() == TracingSettings("executor", resource={"seldon.deployment": "dep"})
    assert on().collector.endpoint == "http://localhost:4317"
    assert (on().queue_spans, on().batch_spans, on().delay_ms, on().collector.timeout_s) == (2048, 512, 5000, 10)


def test_standard_s_variables_are_read_and_win_over_jaeger_s():
    settings = on(
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://traces:9/",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://other:1",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_SERVICE_NAME="mine",
        OTEL_RESOURCE_ATTRIBUTES="team=a%20b, seldon.deployment=other",
        OTEL_TRACES_SAMPLER="traceidratio",
        OTEL_TRACES_SAMPLER_ARG="0.25",
        OTEL_PROPAGATORS="b3, baggage",
        OTEL_BSP_MAX_QUEUE_SIZE="100",
        JAEGER_AGENT_HOST="jaeger",
        JAEGER_SERVICE_NAME="theirs",
        JAEGER_SAMPLER_TYPE="const",
        JAEGER_TRACE_PROPAGATION_TYPE="b3",
    )
    assert settings.collector.endpoint == "https://traces:9"
    assert settings.service == "mine"
    assert settings.resource == {"team": "a b", "seldon.deployment": "other"}
    assert (settings.sampler, settings.ratio) == ("traceidratio", 0.25)
    assert settings.propagators == ("b3", "baggage")
    assert (settings.queue_spans, settings.batch_spans) == (100, 100)
    assert on(OTEL_RESOURCE_ATTRIBUTES="service.name=told").service == "told"
    assert on(OTEL_PROPAGATORS="none").propagators == ()


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("http://c:4317/", "http://c:4317"),
        ("https://c", "https://c"),
        ("c:4317", "https://c:4317"),
        ("http://[::1]:4317", "http://[::1]:4317"),
    ],
)
def test_address_of_the_collector(given, endpoint):
    assert on(OTEL_EXPORTER_OTLP_ENDPOINT=given).collector.endpoint == endpoint
    insecure = on(OTEL_EXPORTER_OTLP_ENDPOINT="c:4317", OTEL_EXPORTER_OTLP_INSECURE="true")
    assert insecure.collector.endpoint == "http://c:4317"
    chosen = on(OTEL_EXPORTER_OTLP_ENDPOINT="http://c:4318", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert chosen.collector.endpoint == "http://c:4318"


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318", "write the collector's gRPC port, e.g. http://c:4317"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317/v1/traces", "over HTTP; they are sent over gRPC"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "udp://c", "expected e.g. http://localhost:4317"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:port", "is no address"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:s3cret@c:4317", "put it into OTEL_EXPORTER_OTLP_HEADERS"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "'http/protobuf' is not offered; spans are sent over gRPC"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "'zipkin' is not one of otlp, none"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "'jaeger_remote' is not one of always_on"),
        ("OTEL_PROPAGATORS", "tracecontext,xray", "'xray' is not one of tracecontext, baggage, b3, b3multi, none"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team", "'team' is not key=value"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,s3cret", "entry 2 is not key=value"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=s3cret", "entry 1 is not key=value"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=s3cret%0a", "entry 1 is not key=value"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "'zstd' is not one of gzip, none"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem", "/nowhere/ca.pem is not a file"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "is not a number from 1 to 65536"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon", "'soon' is not a number from 1 to 600000"),
        ("JAEGER_ENDPOINT", "jaeger:14268", "expected e.g. http://jaeger-collector:14268/api/traces"),
        ("JAEGER_SAMPLER_TYPE", "sometimes", "'sometimes' is not one of const, probabilistic, ratelimiting, remote"),
        ("JAEGER_TAGS", "team", "'team' is not key=value"),
        ("JAEGER_CONFIG_PATH", "/nowhere/tracing.yaml", "/nowhere/tracing.yaml: No such file or directory"),
    ],
)
def test_settings_that_make_no_sense_are_errors_that_say_what_would(variable, value, told):
    with pytest.raises(TracingError) as refused:
        on(**{variable: value})
    assert str(refused.value).startswith(variable)
    assert told in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_headers_for_the_collector_are_read_and_not_shown():
    settings = on(OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20s3cret, x-team=a=b,")
    assert settings.collector.headers == {"authorization": "Bearer s3cret", "x-team": "a=b"}
    assert "s3cret" not in repr(settings)
    assert on(OTEL_EXPORTER_OTLP_COMPRESSION="gzip").collector.is_compressed
    assert not on(OTEL_EXPORTER_OTLP_COMPRESSION="none").collector.is_compressed


def test_variable_that_only_opentelemetry_reads_is_an_error_too(monkeypatch):
    monkeypatch.setenv("OTEL_ATTRIBUTE_COUNT_LIMIT", "many")
    with pytest.raises(TracingError, match="OTEL_ATTRIBUTE_COUNT_LIMIT"):
        open_tracing(on())


def test_ratio_is_from_0_to_1():
    for value in ("2", "-0.1", "much", "nan"):
        with pytest.raises(TracingError, match="OTEL_TRACES_SAMPLER_ARG: .* is not a number from 0 to 1"):
            on(OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG=value)


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({"JAEGER_AGENT_HOST": "agent", "JAEGER_AGENT_PORT": "5775"}, "http://agent:4317"),
        (
            {"JAEGER_ENDPOINT": "http://jaeger-collector.tracing:14268/api/traces"},
            "http://jaeger-collector.tracing:4317",
        ),
        ({"JAEGER_ENDPOINT": "https://j/api/traces", "JAEGER_AGENT_HOST": "agent"}, "https://j:4317"),
        ({"JAEGER_AGENT_HOST": "::1"}, "http://[::1]:4317"),
        ({"JAEGER_AGENT_PORT": "tcp://10.0.0.1:5775"}, ""),  # what Kubernetes adds for a Service of that name
    ],
)
def test_jaeger_s_addresses_become_otlp_s_and_the_log_says_so(environment, endpoint):
    jaeger = read_jaeger(environment)
    assert jaeger.endpoint == endpoint
    assert any(endpoint in note for note in jaeger.notes) == bool(endpoint)
    assert asks_for_jaeger(environment) == bool(endpoint)


@pytest.mark.parametrize(
    ("kind", "value", "sampler", "ratio"),
    [
        ("const", "1", "parentbased_always_on", 1.0),
        ("const", "0", "parentbased_always_off", 1.0),
        ("const", "true", "parentbased_always_on", 1.0),
        ("probabilistic", "0.1", "parentbased_traceidratio", 0.1),
    ],
)
def test_jaeger_s_samplers_have_counterparts(kind, value, sampler, ratio):
    settings = on(JAEGER_SAMPLER_TYPE=kind, JAEGER_SAMPLER_PARAM=value)
    assert (settings.sampler, settings.ratio, settings.notes) == (sampler, ratio, ())


def test_what_of_jaeger_s_has_no_counterpart_is_told():
    settings = on(
        JAEGER_SAMPLER_TYPE="remote", JAEGER_USER="me", JAEGER_PASSWORD="s3cret", JAEGER_PROPAGATION="jaeger",
        JAEGER_EXTRA_TAGS="method,headers", JAEGER_REPORTER_MAX_QUEUE_SIZE="7",
    )  # fmt: skip
    told = "\n".join(settings.notes)
    assert "JAEGER_SAMPLER_TYPE remote has no counterpart here: every trace is sent" in told
    assert "JAEGER_USER, JAEGER_PASSWORD, JAEGER_REPORTER_MAX_QUEUE_SIZE: no effect here" in told
    assert "JAEGER_TRACE_PROPAGATION_TYPE jaeger: the context travels as traceparent" in told
    assert "JAEGER_EXTRA_TAGS: headers of a request is not recorded" in told
    assert "s3cret" not in told
    assert settings.propagators == ("tracecontext", "baggage")


def test_jaeger_s_tags_are_said_of_every_span():
    settings = on(JAEGER_TAGS="team=a, zone=${ZONE:here}, host=${HOST:none}", JAEGER_EXTRA_TAGS="tier=gold", HOST="h1")
    assert settings.resource == {
        "seldon.deployment": "dep", "team": "a", "zone": "here", "host": "h1", "tier": "gold",
    }  # fmt: skip


def test_jaeger_s_configuration_file(tmp_path: Path):
    file = tmp_path / "tracing.yaml"
    file.write_text(
        "sampler: {type: probabilistic, param: 0.5}\nlocal_agent: {reporting_host: agent}\ntags: {team: 7}\n"
        "propagation: b3\nservice_name: theirs\nreporter_queue_size: 9\nlogging: true\n"
    )
    settings = on(JAEGER_CONFIG_PATH=str(file))
    assert (settings.sampler, settings.ratio) == ("parentbased_traceidratio", 0.5)
    assert (settings.collector.endpoint, settings.service) == ("http://agent:4317", "theirs")
    assert (settings.propagators, settings.resource["team"]) == (("b3multi",), "7")
    assert f"{file}: logging, reporter_queue_size: no effect here" in settings.notes
    file.write_text("enabled: false\n")
    assert read(asked=True, JAEGER_CONFIG_PATH=str(file)) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1]", "is not a mapping"),
        ("a: [", "is not YAML"),
        ("sampler: const", "sampler is 'const', not a mapping"),
        (f"# {'x' * 70_000}", "is not a mapping"),
    ],
)
def test_broken_configuration_file_is_an_error_that_names_it(tmp_path: Path, text, told):
    file = tmp_path / "tracing.yaml"
    file.write_text(text)
    with pytest.raises(TracingError, match="JAEGER_CONFIG_PATH") as refused:
        on(JAEGER_CONFIG_PATH=str(file))
    assert told in str(refused.value)


def test_nothing_is_imported_and_nothing_done_without_settings():
    assert open_tracing(None) is OFF
    program = (
        "import sys, slipway.executor.main, slipway.microservice.main; "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


class Collector(SpanExporter):
    """Takes a message when it is let to, and says what it is told to."""

    def __init__(self, result: SpanExportResult | Exception = SpanExportResult.SUCCESS) -> None:
        self.result = result
        self.may_take = threading.Event()
        self.taken = 0
        self.is_shut = threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        while not self.may_take.wait(0.01):
            if self.is_shut.is_set():
                return SpanExportResult.FAILURE
        if isinstance(self.result, Exception):
            raise self.result
        self.taken += len(spans)
        return self.result

    def shutdown(self) -> None:
        self.is_shut.set()


def queue_of(exporter: Collector, **settings: int) -> tuple[TracerProvider, SpanCounts]:
    told = TracingSettings("t", **settings)
    counts = SpanCounts({}, queue_spans=told.queue_spans)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SpanQueue(exporter, told, counts))
    return provider, counts


def spans(provider: TracerProvider, count: int) -> None:
    tracer = provider.get_tracer("t")
    for _ in range(count):
        tracer.start_span("s").end()


def test_queue_never_holds_more_than_its_limit_and_every_span_is_counted():
    exporter = Collector()
    provider, counts = queue_of(exporter, queue_spans=16, batch_spans=4, delay_ms=10)
    workers = [threading.Thread(target=spans, args=(provider, 500)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counts.waiting <= 16
    exporter.may_take.set()
    provider.shutdown()
    assert counts.by_outcome["sent"] == exporter.taken
    assert exporter.taken <= 16 + 4
    assert sum(counts.by_outcome.values()) + counts.waiting == 2000
    assert counts.waiting == 0


@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, RuntimeError("broken exporter")])
def test_spans_that_the_collector_does_not_take_are_counted(result):
    exporter = Collector(result)
    exporter.may_take.set()
    provider, counts = queue_of(exporter)
    spans(provider, 3)
    provider.shutdown()
    assert counts.by_outcome == {"sent": 0, "failed": 3, "dropped": 0}


def test_end_gives_up_a_collector_that_hangs(monkeypatch):
    monkeypatch.setattr(tracing_queue, "FLUSH_S", 0.2)
    exporter = Collector()
    provider, counts = queue_of(exporter, delay_ms=1)
    spans(provider, 2)
    provider.shutdown()
    assert exporter.is_shut.is_set()
    assert counts.by_outcome["sent"] == 0


CONTEXTS = ("traceparent", "tracestate", "baggage", "b3", "X-B3-TraceId", "X-B3-SpanId", "X-B3-Sampled", "X-B3-Flags")
PIECES = st.sampled_from(
    ["00", "-", "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "01", "=", ",", ";", "%", "z"]
)
VALUES = st.one_of(
    st.lists(PIECES, max_size=12).map("".join),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=200),
)


@hypothesis.settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(CONTEXTS), VALUES), max_size=10),
    st.sets(st.sampled_from(PROPAGATORS)),
)
def test_no_context_that_a_client_sends_fails_its_request(sent, propagators):
    tracing = SpanTracing(TracerProvider(shutdown_on_exit=False), tuple(propagators), SpanCounts({}, queue_spans=1))
    request = make_mocked_request("POST", "/predict", headers=CIMultiDict(sent))
    forwarded: list[CIMultiDict[str]] = []
    written: list[tuple[str, str | bytes]] = []

    async def handle(_: web.Request) -> web.Response:
        call = tracing.call("/predict", dict)
        forwarded.append(call.headers(CIMultiDict(sent)))
        forwarded.append(CIMultiDict(call.metadata(tuple((name.lower(), value) for name, value in sent))))
        written.extend(call.metadata(()))
        call.end_rest(200)
        return web.Response()

    request._match_info = web.UrlMappingMatchInfo({}, web.UrlDispatcher().add_post("/predict", handle))
    response = asyncio.run(tracing.served_rest("predictions", handle)(request))
    assert response.status == 200
    assert all(isinstance(value, str) and value.isascii() and value.isprintable() for _, value in written), written
    for headers in forwarded:
        assert len(headers.getall("traceparent", [])) == 1 or "tracecontext" not in propagators
