"""Traces of the executor as a collector receives them: names, parents, statuses, both wires, every protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from slipway.contract.protos import inference_pb2 as v2
from slipway.contract.protos import prediction_pb2 as pb
from tests.executor.executors import executor
from tests.executor.nodes import Node, Refusal, Reply, serving
from tests.ports import free_ports
from tests.serving.collector import CLIENT, SERVER, Collector, collecting
from tests.waiting import eventually

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
PREDICT = "/seldon.protos.Seldon/Predict"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as started:
        yield started


async def test_request_s_trace_goes_through_every_node(collector: Collector) -> None:
    """The client's context is the parent of the server span, that of the calls, and each node is told its own call."""
    first, second = Node("a"), Node("b")
    async with serving(first, second):
        graph = first.graph("TRANSFORMER", second.graph("MODEL"))
        async with executor(graph, environment=collector.environment()) as client:
            sent = {"traceparent": TRACEPARENT, "tracestate": "vendor=1", "baggage": "who=me", "Seldon-Puid": "mine"}
            assert (await client.post(headers=sent)).status == 200
            await collector.arrived(3)
    server = collector.one("predictions")
    assert (server.kind, server.trace, server.parent, server.service) == (SERVER, TRACE, PARENT, "executor")
    assert server.about == {
        "http.request.method": "POST",
        "http.route": "/api/v1.0/predictions",
        "http.response.status_code": 200,
        "seldon.puid": "mine",
    }
    assert server.resource["seldon.deployment"] == "dep"
    assert server.resource["k8s.namespace.name"] == "ns"
    for name, path, node in (("a", "/transform-input", first), ("b", "/predict", second)):
        call = collector.one(path, seldon_node=name)
        assert (call.kind, call.trace, call.parent) == (CLIENT, TRACE, server.id)
        assert (call.about["http.request.method"], call.about["http.response.status_code"]) == ("POST", 200)
        told = node.calls()[0].headers
        assert told.getall("traceparent") == [f"00-{TRACE}-{call.id}-01"]
        assert (told["tracestate"], told["baggage"]) == ("vendor=1", "who=me")


async def test_request_without_a_context_begins_a_trace_and_has_its_puid(collector: Collector) -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL"), environment=collector.environment()) as client:
        answer = await client.post()
        await collector.arrived(2)
    server = collector.one("predictions")
    assert server.parent == ""
    assert server.about["seldon.puid"] == answer.headers["seldon-puid"]
    assert node.calls()[0].headers["traceparent"].split("-")[1] == server.trace


async def test_grpc_calls_are_traced_alike(collector: Collector) -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL"), environment=collector.environment()) as client:
        await client.call(pb.SeldonMessage(strData="x"), metadata=(("traceparent", TRACEPARENT), ("seldon-puid", "p")))
        await collector.arrived(2)
    server, call = collector.one(PREDICT), collector.one("/seldon.protos.Model/Predict")
    assert (server.kind, server.trace, server.parent) == (SERVER, TRACE, PARENT)
    assert server.about == {"rpc.system": "grpc", "rpc.grpc.status_code": 0, "seldon.puid": "p"}
    assert (call.kind, call.trace, call.parent) == (CLIENT, TRACE, server.id)
    assert call.about == {"rpc.system": "grpc", "rpc.grpc.status_code": 0, "seldon.node": "a"}
    told = [metadata for method, metadata, _ in node.grpc_seen if method == "/seldon.protos.Model/Predict"]
    assert told[0]["traceparent"] == f"00-{TRACE}-{call.id}-01"


@pytest.mark.parametrize(
    "environment",
    [{"OTEL_PROPAGATORS": "b3multi"}, {"JAEGER_TRACE_PROPAGATION_TYPE": "b3"}],
    ids=["standard", "seldon"],
)
async def test_b3_in_several_headers(collector: Collector, environment: dict[str, str]) -> None:
    """What the client sent of the format is replaced as a whole, whichever of the two forms that was."""
    node = Node("a")
    sent = {"X-B3-TraceId": TRACE, "X-B3-SpanId": PARENT, "X-B3-ParentSpanId": "1" * 16, "X-B3-Sampled": "1"}
    async with serving(node), executor(node.graph("MODEL"), environment=collector.environment(**environment)) as client:
        await client.post(headers=sent)
        await client.post(headers={"b3": f"{TRACE}-{PARENT}-1"})
        await collector.arrived(4)
    calls = {span.id for span in collector.spans if span.kind == CLIENT}
    assert {span.trace for span in collector.spans} == {TRACE}
    assert [span.parent for span in collector.spans if span.kind == SERVER] == [PARENT, PARENT]
    for seen in node.calls():
        assert (seen.headers["x-b3-traceid"], seen.headers["x-b3-sampled"]) == (TRACE, "1")
        assert seen.headers["x-b3-spanid"] in calls
        assert "x-b3-parentspanid" not in seen.headers
        assert "b3" not in seen.headers


async def test_b3_in_one_header_over_both_wires(collector: Collector) -> None:
    node, b3 = Node("a"), f"{TRACE}-{PARENT}-1"
    environment = collector.environment(OTEL_PROPAGATORS="b3")
    async with serving(node), executor(node.graph("MODEL"), environment=environment) as client:
        await client.post(headers={"B3": b3, "traceparent": TRACEPARENT})
        await client.call(pb.SeldonMessage(strData="x"), metadata=(("b3", b3),))
        await collector.arrived(4)
    assert {span.parent for span in collector.spans if span.kind == SERVER} == {PARENT}
    rest = collector.one("/predict")
    assert node.calls()[0].headers.getall("b3") == [f"{TRACE}-{rest.id}-1"]
    assert node.calls()[0].headers["traceparent"] == TRACEPARENT  # no concern of this format
    call = collector.one("/seldon.protos.Model/Predict")
    assert node.grpc_seen[-1][1]["b3"] == f"{TRACE}-{call.id}-1"


async def test_branches_at_once_are_children_of_one_request(collector: Collector) -> None:
    combiner, left, right = Node("c"), Node("l"), Node("r")
    async with serving(combiner, left, right):
        graph = combiner.graph("COMBINER", left.graph("MODEL"), right.graph("MODEL"))
        async with executor(graph, environment=collector.environment()) as client:
            await client.post()
            await collector.arrived(4)
    server = collector.one("predictions")
    calls = {span.about["seldon.node"]: span for span in collector.spans if span.kind == CLIENT}
    assert {node: span.name for node, span in calls.items()} == {"c": "/aggregate", "l": "/predict", "r": "/predict"}
    assert {span.parent for span in calls.values()} == {server.id}


async def test_feedback_status_and_metadata_have_their_spans(collector: Collector) -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL"), environment=collector.environment()) as client:
        await client.post(b'{"reward":1}', "/api/v1.0/feedback")
        await client.get("/api/v1.0/status/a")
        await client.get("/api/v1.0/metadata/a")
        await collector.arrived(6)
    for server, call in (("feedback", "/send-feedback"), ("status", "/health/status"), ("metadata", "/metadata")):
        assert collector.one(call, seldon_node="a").parent == collector.one(server).id


async def test_probes_and_scrapes_make_no_span(collector: Collector) -> None:
    """Also not on a connection that has just brought a traced request."""
    node, flags = Node("a"), ["--full_health_checks"]
    async with serving(node), executor(node.graph("MODEL"), flags=flags, environment=collector.environment()) as client:
        await client.post()
        asked = len(node.seen)
        for path in ("/live", "/ready", "/prometheus", "/api/v1.0/health/status"):
            await client.get(path)

        async def asks_the_node() -> bool:
            return await client.is_ready() and len(node.seen) > asked

        await eventually(asks_the_node)
        await client.post()
        await collector.arrived(4)


async def test_broken_contexts_are_not_logged(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    """What a client sends grows no log and shows in none."""
    node = Node("a")
    sent = {"baggage": f"s3cret,ÿ=s3cret,{'s3cret' * 1000}", "traceparent": "s3cret", "tracestate": "s3cret,,"}
    async with serving(node), executor(node.graph("MODEL"), environment=collector.environment()) as client:
        assert (await client.post(headers=sent)).status == 200
        assert (await client.post(headers={**sent, "traceparent": TRACEPARENT, "baggage": "s3cret"})).status == 200
        await collector.arrived(4)
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]
    assert "s3cret" not in caplog.text


async def test_puid_that_is_no_text_is_shown_and_not_logged(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL"), environment=collector.environment()) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.rest_port)
        body = b'{"data":{"ndarray":[[1]]}}'
        head = b"POST /api/v1.0/predictions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        writer.write(head + b"Seldon-Puid: p\xff\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        await writer.wait_closed()
        await collector.arrived(2)
    assert collector.one("predictions").about["seldon.puid"] == "p\\udcff"
    assert [record for record in caplog.records if record.name.startswith("opentelemetry")] == []


async def test_node_s_error_is_on_both_spans_without_its_text(collector: Collector) -> None:
    node = Node("a")
    secret = b'{"status":{"info":"s3cret payload","reason":"BROKEN"}}'
    told = {"Content-Type": "application/json", "x-slipway-reason": "BROKEN", "Authorization": "s3cret"}
    node.rest = lambda _: Reply(secret, 503, told)

    def refuse(method: str, request: bytes) -> bytes:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "s3cret payload", ("x-slipway-reason", "BAD"))

    node.grpc = refuse
    async with serving(node), executor(node.graph("MODEL"), environment=collector.environment()) as client:
        answer = await client.post(b'{"strData":"s3cret"}', headers={"Authorization": "Bearer s3cret"})
        with pytest.raises(grpc.aio.AioRpcError):
            await client.call(pb.SeldonMessage(strData="s3cret"), metadata=(("authorization", "s3cret"),))
        await collector.arrived(4)
    assert answer.status == 503
    for name in ("predictions", "/predict"):
        span = collector.one(name)
        assert (span.is_error, span.about["error.type"]) == (True, "BROKEN")
        assert span.about["http.response.status_code"] == 503
    server, call = collector.one(PREDICT), collector.one("/seldon.protos.Model/Predict")
    assert (server.is_error, call.is_error) == (False, True)  # the client's mistake is no error of the server
    assert server.about["error.type"] == call.about["error.type"] == "BAD"
    assert server.about["rpc.grpc.status_code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert not [span.text for span in collector.spans if "s3cret" in span.text]


async def test_unreachable_node_is_an_error(collector: Collector) -> None:
    gone = Node("a", http_port=free_ports(1)[0])
    async with executor(gone.graph("MODEL"), environment=collector.environment(), ready=False) as client:
        assert (await client.post()).status == 503
        await collector.arrived(2)
    call = collector.one("/predict")
    assert (call.is_error, call.about["http.response.status_code"]) == (True, 503)
    assert collector.one("predictions").about["error.type"] == "NODE_UNREACHABLE"


async def test_client_that_leaves_ends_its_spans(collector: Collector) -> None:
    node = Node("a")

    async def wait(_: object) -> Reply:
        await node.cancelled.wait()
        raise AssertionError("the call is cancelled before")

    node.rest = wait
    async with serving(node), executor(node.graph("MODEL"), environment=collector.environment()) as client:
        with pytest.raises(TimeoutError):
            await client.post(timeout=aiohttp.ClientTimeout(total=0.3))
        await eventually(lambda: len(collector.spans) == 2)
    assert collector.one("predictions").about["error.type"] == "client_left"
    assert collector.one("/predict").about["error.type"] == "no_answer"


async def test_v2_and_tensorflow_are_traced(collector: Collector) -> None:
    node = Node("a")
    node.rest = lambda _: Reply(b'{"model_name":"a","outputs":[]}')
    node.grpc = lambda method, _: v2.ModelInferResponse(model_name="a").SerializeToString()
    environment = collector.environment()
    async with serving(node):
        async with executor(node.graph("MODEL"), flags=["--protocol", "v2"], environment=environment) as client:
            await client.post(b'{"inputs":[]}', "/v2/models/a/infer")
            await client.call(v2.ModelInferRequest(model_name="a"), "/inference.GRPCInferenceService/ModelInfer")
        node.rest = lambda _: Reply(b'{"predictions":[1]}')
        async with executor(node.graph("MODEL"), flags=["--protocol", "tensorflow"], environment=environment) as client:
            await client.post(b'{"instances":[1]}', "/v1/models/a:predict")
        await collector.arrived(6)
    served = [(span.name, span.about.get("http.route")) for span in collector.spans if span.kind == SERVER]
    assert served[:2] == [
        ("predictions", "/v2/models/{model}/infer"),
        ("/inference.GRPCInferenceService/ModelInfer", None),
    ]
    assert served[2][0] == "predictions"
    called = [span.name for span in collector.spans if span.kind == CLIENT]
    assert called == ["/v2/models/a/infer", "/inference.GRPCInferenceService/ModelInfer", "/v1/models/a:predict"]
    parents = {span.id for span in collector.spans if span.kind == SERVER}
    assert {span.parent for span in collector.spans if span.kind == CLIENT} == parents


async def test_client_s_decision_not_to_sample_travels_on(collector: Collector) -> None:
    node = Node("a")
    async with serving(node), executor(node.graph("MODEL"), environment=collector.environment()) as client:
        await client.post(headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
        await client.post()
        await collector.arrived(2)
    told = node.calls()[0].headers["traceparent"].split("-")
    assert (told[1], told[3]) == (TRACE, "00")
    assert TRACE not in {span.trace for span in collector.spans}


async def test_sampler_of_the_environment_is_asked(collector: Collector) -> None:
    node = Node("a")
    environment = collector.environment(OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0")
    async with serving(node), executor(node.graph("MODEL"), environment=environment) as client:
        await client.post()
        await client.post(headers={"traceparent": TRACEPARENT})
        await collector.arrived(2)
    assert {span.trace for span in collector.spans} == {TRACE}


async def test_context_passes_untouched_where_no_traces_are_sent() -> None:
    node = Node("a")
    sent = {"traceparent": TRACEPARENT, "b3": "0", "X-B3-TraceId": TRACE, "uber-trace-id": "1:2:3:1"}
    async with serving(node), executor(node.graph("MODEL")) as client:
        await client.post(headers=sent)
        await client.call(pb.SeldonMessage(strData="x"), metadata=(("traceparent", TRACEPARENT), ("b3", "0")))
        exposed = (await client.get("/prometheus")).body
    assert {name: node.calls()[0].headers[name] for name in sent} == sent
    assert node.grpc_seen[-1][1]["traceparent"] == TRACEPARENT
    assert node.grpc_seen[-1][1]["b3"] == "0"
    assert b"slipway_trace" not in exposed


async def test_collector_that_is_down_fails_no_request_and_is_counted() -> None:
    node = Node("a")
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_ports(1)[0]}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    async with serving(node), executor(node.graph("MODEL"), environment=environment) as client:
        assert (await client.post()).status == 200

        async def failed() -> bool:
            return b'slipway_trace_spans_total{outcome="failed"} 2.0' in (await client.get("/prometheus")).body

        await eventually(failed)


async def test_collector_behind_tls_gets_its_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = self_signed()
    (tmp_path / "ca.pem").write_bytes(certificate)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))  # OpenTelemetry reads it
    node = Node("a")
    with collecting(grpc.ssl_server_credentials(((key, certificate),))) as secure:
        environment = secure.environment(
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20t0ken", OTEL_EXPORTER_OTLP_COMPRESSION="gzip"
        )
        async with serving(node), executor(node.graph("MODEL"), environment=environment) as client:
            await client.post()
            await secure.arrived(2)
        assert secure.headers[0]["authorization"] == "Bearer t0ken"


def self_signed() -> tuple[bytes, bytes]:
    """Key and certificate of ``localhost``, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(hours=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    written = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return written, certificate.public_bytes(pem)


async def test_full_queue_drops_spans_and_counts_them(collector: Collector) -> None:
    """The collector holds the first message back; four spans wait, and the rest of them is dropped."""
    node = Node("a")
    collector.released.clear()
    environment = collector.environment(OTEL_BSP_MAX_QUEUE_SIZE="4", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="2")
    async with serving(node), executor(node.graph("MODEL"), environment=environment) as client:
        assert (await client.post()).status == 200
        await eventually(lambda: len(collector.headers) == 1)
        for _ in range(5):
            assert (await client.post()).status == 200
        exposed = (await client.get("/prometheus")).body.decode()
        assert 'slipway_trace_spans_total{outcome="dropped"} 6.0' in exposed
        assert "slipway_trace_spans_waiting 4.0" in exposed
        collector.released.set()
        await collector.arrived(6)
        exposed = (await client.get("/prometheus")).body.decode()
    assert 'slipway_trace_spans_total{outcome="sent"} 6.0' in exposed
