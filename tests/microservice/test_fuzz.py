"""Whatever clients send, over REST and gRPC: no 5xx that is not the model's own, no end of the process, no growth."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from slipway.microservice.rest_app import HEALTH_PATHS, METADATA_PATHS, PATHS
from slipway.serving.messages import to_proto, varint
from tests.microservice.process import MicroserviceProcess
from tests.serving.test_messages import ANYTHING, MESSAGES

ECHO = """
class Mod:
    def predict(self, X, names, meta=None): return X if isinstance(X, (str, bytes, dict)) else "else"
    def transform_input(self, X, names): return "x"
    def transform_output(self, X, names): return X if hasattr(X, "shape") else {"x": None}
    def route(self, X, names): return 1
    def aggregate(self, features, names): return "x"
    def send_feedback(self, X, names, reward, truth, routing=None): return None
"""
REST_PATHS = [path for paths in PATHS.values() for path, _ in paths]
V2_PATHS = ["/v2/models/infer", "/v2/models/Mod/infer", "/v2/models/Mod/versions/1/infer", "/v2/models/aggregate"]
FACTS = [*HEALTH_PATHS, *METADATA_PATHS, "/health/ping", "/seldon.json", "/v2", "/no/such/path"]
CONTENT_TYPES = [
    "application/json",
    "application/json; charset=utf-16",
    "application/x-protobuf",
    "multipart/form-data; boundary=b",
    "multipart/form-data",
    "application/x-www-form-urlencoded",
    "application/octet-stream",
    "image/jpeg",
    "text/plain",
    "",
]
ACCEPTS = [
    "",
    "application/json",
    "application/x-protobuf",
    "application/x-protobuf, application/json",
    "text/html",
    ";;,",
]
SERVICES = ["Model", "Seldon", "Generic", "Router", "Combiner", "Transformer", "OutputTransformer"]
METHODS = ["Predict", "TransformInput", "TransformOutput", "Route", "Aggregate", "SendFeedback", "Metadata"]
OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS}
"""Codes of gRPC that are never a client's mistake."""
FUZZ = settings(max_examples=800, deadline=None, suppress_health_check=list(HealthCheck))
ANSWER_S = 30.0
MAX_GROWTH_KB = 24 * 1024
"""Between two rounds of the same nasty bodies: what the allocator keeps differs by as much as a body or two."""


class Client:
    """Asks one process over kept connections."""

    def __init__(self, process: MicroserviceProcess) -> None:
        self.process = process
        rest, target, _ = process.ready()
        self.host, _, port = rest.rpartition(":")
        self.port = int(port)
        self.http = http.client.HTTPConnection(self.host, self.port, timeout=ANSWER_S)
        self.channel = grpc.insecure_channel(target, options=[("grpc.max_send_message_length", -1)])

    def rest(self, method: str, path: str, body: bytes, content_type: str, accept: str = "") -> int:
        """The status; the answer is JSON wherever it is an error."""
        given = {"Content-Type": content_type, "Accept": accept}
        self.http.request(method, path, body, {name: value for name, value in given.items() if value})
        with self.http.getresponse() as response:
            answer = response.read()
            if response.status >= 400:
                json.loads(answer)
            return response.status

    def grpc(self, path: str, raw: bytes) -> grpc.StatusCode:
        try:
            self.channel.unary_unary(path)(raw, timeout=ANSWER_S)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    def pss_kb(self) -> int:
        rollup = Path(f"/proc/{self.process.process.pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))

    def assert_serves(self) -> None:
        assert self.process.process.poll() is None, self.process.text()
        reply = stubs.ModelStub(self.channel).Predict(pb.SeldonMessage(strData="x"), timeout=ANSWER_S)
        assert reply.strData == "x"
        assert self.rest("POST", "/predict", b'{"strData":"x"}', "application/json") == 200


@pytest.fixture
def client(request: pytest.FixtureRequest, start_process: Callable[..., MicroserviceProcess]) -> Iterator[Client]:
    """Of a component with the flags that the test's parameter names."""
    one = Client(start_process(ECHO, *getattr(request, "param", ())))
    yield one
    one.http.close()
    one.channel.close()


JSON_BODIES = st.one_of(ANYTHING, MESSAGES, st.lists(MESSAGES, max_size=2)).map(
    lambda value: json.dumps(value).encode(errors="replace")
)
WIRE_BODIES = MESSAGES.map(lambda message: to_proto(message).SerializeToString())


def mutated(bodies: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """A body as it is, cut, repeated, or with a piece of something else in it."""
    return st.one_of(
        bodies,
        st.builds(lambda body, at: body[: at % (len(body) + 1)], bodies, st.integers(0, 500)),
        st.builds(
            lambda body, at, other: body[: at % (len(body) + 1)] + other + body[at % (len(body) + 1) :],
            bodies,
            st.integers(0, 500),
            st.binary(max_size=8),
        ),
        st.binary(max_size=64),
    )


BODIES = mutated(st.one_of(JSON_BODIES, WIRE_BODIES))


def test_no_rest_request_is_a_5xx_or_ends_the_process(client: Client):
    @given(
        st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS"]),
        st.sampled_from([*REST_PATHS, *V2_PATHS, *FACTS]),
        BODIES,
        st.sampled_from(CONTENT_TYPES),
        st.sampled_from(ACCEPTS),
    )
    @FUZZ
    def ask(method: str, path: str, body: bytes, content_type: str, accept: str) -> None:
        assert client.rest(method, path, body, content_type, accept) < 500, client.process.text()[-2000:]

    ask()
    client.assert_serves()


BATCHED = pytest.mark.parametrize("client", [(), ("--max-batch", "4")], indirect=True, ids=["alone", "batched"])


@BATCHED
def test_no_json_message_is_a_5xx(client: Client):
    @given(st.sampled_from([*REST_PATHS, *V2_PATHS]), mutated(JSON_BODIES), st.sampled_from(ACCEPTS))
    @FUZZ
    def ask(path: str, body: bytes, accept: str) -> None:
        assert client.rest("POST", path, body, "application/json", accept) < 500, client.process.text()[-2000:]

    ask()
    client.assert_serves()


@BATCHED
def test_no_grpc_message_is_an_internal_error_or_ends_the_process(client: Client):
    paths = [f"/seldon.protos.{service}/{method}" for service in SERVICES for method in METHODS]
    paths += ["/inference.GRPCInferenceService/ModelInfer", "/no.Such/Method"]

    @given(st.sampled_from(paths), mutated(WIRE_BODIES))
    @FUZZ
    def ask(path: str, raw: bytes) -> None:
        assert client.grpc(path, raw) not in OURS, client.process.text()[-2000:]

    ask()
    client.assert_serves()


HUGE = b"1" + b"0" * 400
HUGE_NUMBERS = [
    b'{"meta":{"metrics":[{"key":"a","type":"GAUGE","value":%s}]},"strData":"x"}',
    b'{"meta":{"metrics":[{"key":"a","type":%s,"value":1}]},"strData":"x"}',
    b'{"meta":{"tags":{"a":[{"b":%s}]}},"strData":"x"}',
    b'{"jsonData":{"a":%s}}',
    b'{"data":{"ndarray":[[%s]]}}',
    b'{"data":{"tensor":{"shape":[1],"values":[%s]}}}',
    b'{"data":{"tensor":{"shape":[0,%s],"values":[]}}}',
    b'{"data":{"tftensor":{"dtype":%s}}}',
    b'{"reward":%s}',
    b'{"response":{"meta":{"routing":{"a":%s}}}}',
    b'{"request":{"meta":{"puid":"x","tags":{"a":%s}}}}',
    b'[{"meta":{"tags":{"a":%s}},"data":{"ndarray":[[1]]}}]',
    b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[%s]}]}',
    b'{"id":"x","parameters":{"a":%s},"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[1]}]}',
]


@BATCHED
@pytest.mark.parametrize("accept", ACCEPTS[:4])
def test_number_that_no_double_holds_is_never_a_5xx(client: Client, accept: str):
    for path in ("/predict", "/transform-output", "/send-feedback", "/aggregate", "/v2/models/infer"):
        for body in HUGE_NUMBERS:
            status = client.rest("POST", path, body % HUGE, "application/json", accept)
            assert status < 500, (path, body, client.process.text()[-2000:])
    assert client.rest("POST", "/predict", b'{"jsonData":{"a":%s}}' % HUGE, "application/json") == 200


BROKEN_HTTP = [
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Encoding: nonsense\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /predict HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /predict?json=%00%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    bytes(range(256)) * 16,
]


@pytest.mark.parametrize("sent", BROKEN_HTTP, ids=lambda sent: repr(sent[:24]))
def test_broken_http_is_a_4xx_or_a_closed_connection(client: Client, sent: bytes):
    with socket.create_connection((client.host, client.port), timeout=ANSWER_S) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
    assert not answer or answer.split(b" ")[1].startswith(b"4"), answer[:200]
    client.assert_serves()


def delimited(tag: int, *contents: bytes) -> bytes:
    body = b"".join(contents)
    return bytes([tag]) + varint(len(body)) + body


MIB = 1024 * 1024
LARGE_JSON = [
    b'{"data":{"ndarray":[' + b"[]," * (3 * MIB) + b"1]}}",
    b'{"jsonData":[' + b"{}," * (3 * MIB) + b"1]}",
    b'{"data":{"ndarray":[' + b"1," * (5 * MIB) + b"1]}}",
    b'{"data":{"ndarray":[' + b'"a",' * (2 * MIB) + b'"' + b"a" * MIB + b'"]}}',
    b'{"data":{"tensor":{"shape":[1000000000,1000000000],"values":[1]}}}',
    b'{"data":{"tensor":{"shape":[0,2000000000],"values":[]}}}',
    b'{"data":{"tensor":{"shape":[-1,5000000],"values":[]}}}',
    b'{"data":{"tftensor":{"dtype":"DT_FLOAT","tensorShape":{"dim":[{"size":"0"},{"size":"12000000"}]}}}}',
    b'{"data":{"tftensor":{"dtype":"DT_INT8","tensorShape":{"dim":[{"size":"1"},{"size":"12000000"}]},"intVal":[1]}}}',
    b'{"data":{"ndarray":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    b'{"meta":{"metrics":[' + b"{}," * (3 * MIB) + b'{}]},"strData":"x"}',
    b'{"meta":{"tags":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b'},"strData":"x"}',
    b'{"strData":"' + b"\\u0000" * MIB + b'"}',
    b'{"jsonData":' + b"9" * (4 * MIB) + b"}",
    b'{"binData":"' + b"=" * (4 * MIB) + b'"}',
]
LARGE_WIRE = [
    delimited(0x1A, delimited(0x1A, b"\x0a\x00" * (3 * MIB))),
    delimited(0x1A, b"\x0a\x00" * (3 * MIB)),
    delimited(0x12, b"\x2a\x00" * (3 * MIB)),
    delimited(0x1A, delimited(0x12, b"\x08\x01" * (3 * MIB))),
    delimited(0x1A, delimited(0x22, b"\x08\x01", delimited(0x12, delimited(0x12, b"\x08\x80\x80\x80\x80\x10") * 8))),
    delimited(0x1A, delimited(0x22, b"\x08\x07" + b"\x42\x00" * (3 * MIB))),
    delimited(0x32, b"\x32" * (2 * MIB)),
    b"\x0b" * (6 * MIB),
    pb.SeldonMessage(data=pb.DefaultData(tensor=pb.Tensor(shape=[0, 2_000_000_000]))).SerializeToString(),
]


def _grown_kb(client: Client, ask_all: Callable[[], None]) -> int:
    """PSS of a second round over the one after the first."""
    ask_all()
    settled_kb = client.pss_kb()
    ask_all()
    return client.pss_kb() - settled_kb


def test_nasty_large_json_is_refused_and_leaves_nothing_behind(client: Client):
    def ask_all() -> None:
        for body in LARGE_JSON:
            assert client.rest("POST", "/predict", body, "application/json") < 500, body[:60]

    assert _grown_kb(client, ask_all) < MAX_GROWTH_KB
    client.assert_serves()


def test_nasty_large_protobuf_is_refused_and_leaves_nothing_behind(client: Client):
    def ask_all() -> None:
        for raw in LARGE_WIRE:
            assert client.grpc("/seldon.protos.Model/Predict", raw) not in OURS, raw[:20]

    assert _grown_kb(client, ask_all) < MAX_GROWTH_KB
    client.assert_serves()


def test_many_small_requests_leave_nothing_behind(client: Client):
    def ask_many(count: int) -> None:
        for number in range(count):
            body: Any = {"meta": {"puid": f"p{number}"}, "data": {"ndarray": [[number]]}}
            assert client.rest("POST", "/predict", json.dumps(body).encode(), "application/json") == 200
            client.grpc("/seldon.protos.Model/Predict", to_proto(body).SerializeToString())
            client.rest("POST", f"/no/such/{number}", b"{", "application/json")

    ask_many(300)
    settled_kb = client.pss_kb()
    ask_many(1500)
    assert client.pss_kb() - settled_kb < 2 * 1024
