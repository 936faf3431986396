"""Whatever clients send to an executor whose nodes are well: no 5xx but the documented one, no end of it, no growth."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.contract.protos import inference_pb2 as v2
from slipway.contract.protos import prediction_pb2 as pb
from slipway.serving.messages import feedback_to_proto, to_proto
from tests.executor.graphs import predictor_of
from tests.executor.nodes import Node, Reply, Seen, serving
from tests.executor.test_process import Process, started
from tests.serving.test_messages import ANYTHING, MESSAGES
from tests.waiting import eventually

V2_SERVICE = "inference.GRPCInferenceService"
TF_SERVICE = "tensorflow.serving"
REST_PATHS = {
    "seldon": [
        *(f"/api/{version}/{what}" for version in ("v1.0", "v0.1") for what in ("predictions", "feedback")),
        *(
            "/api/v1.0/status",
            "/api/v1.0/status/m",
            "/api/v1.0/status/no",
            "/api/v1.0/metadata",
            "/api/v1.0/metadata/m",
        ),
        *("/api/v1.0/doc/", "/api/v1.0/doc/seldon.json", "/api/v1.0/health/status"),
    ],
    "v2": [
        *("/v2/models/infer", "/v2/models/m/infer", "/v2/models/no/infer", "/v2/models/..%2f/infer"),
        *("/v2/models/m", "/v2/models/no", "/v2/models/m/ready", "/v2/health/ready", "/v2/docs/"),
    ],
    "tensorflow": [
        *("/v1/models/:predict", "/v1/models:predict", "/v1/models/m:predict", "/v1/models/no/:predict"),
        *("/v1/models/m", "/v1/models/no/metadata", "/api/v1.0/feedback"),
    ],
}
COMMON_PATHS = ["/live", "/ready", "/metrics", "/", "/no/such", "//", "/%00", "/api/v1.0/predictions/../x"]
GRPC_PATHS = {
    "seldon": [
        f"/seldon.protos.Seldon/{name}" for name in ("Predict", "SendFeedback", "ModelMetadata", "GraphMetadata")
    ],
    "v2": [
        f"/{V2_SERVICE}/{name}" for name in ("ModelInfer", "ModelReady", "ModelMetadata", "ServerReady", "ServerLive")
    ],
    "tensorflow": [
        f"/{TF_SERVICE}.PredictionService/Predict",
        f"/{TF_SERVICE}.PredictionService/GetModelMetadata",
        f"/{TF_SERVICE}.ModelService/GetModelStatus",
    ],
}
HEADERS = st.fixed_dictionaries(
    {
        "Content-Type": st.sampled_from(
            ["application/json", "application/x-protobuf", "multipart/form-data", "image/jpeg", ""]
        )
    },
    optional={
        "Accept": st.sampled_from(["*/*", "application/x-protobuf", ",", "application/json;q=x"]),
        "Accept-Encoding": st.sampled_from(["gzip", "identity", "br", "x"]),
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "nonsense"]),
        "Seldon-Puid": st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300),
        "Ce-Specversion": st.sampled_from(["1.0", ""]),
        "Inference-Header-Content-Length": st.sampled_from(["0", "5", "99999999999999", "-1", "x", "4"]),
        "x-slipway-hook": st.sampled_from(["route", "x"]),
        "x-slipway-json-bytes": st.just("3"),
        "Expect": st.just("100-continue"),
        "Seldon-Skip-Logging": st.just("true"),
        "traceparent": st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    },
)
ROUTED = st.dictionaries(st.sampled_from(["t", "c", "r", "m"]), st.integers(-(2**31), 2**31 - 1), max_size=3)
FEEDBACKS = ROUTED.map(lambda routing: {"response": {"meta": {"routing": routing}}, "reward": 1})
V2_BODIES = st.builds(
    lambda shape, kind, data, more: {"inputs": [{"name": "x", "shape": shape, "datatype": kind, "data": data, **more}]},
    st.lists(st.integers(-2, 3), max_size=3),
    st.sampled_from(["FP32", "BYTES", "BOOL", "X"]),
    ANYTHING,
    st.sampled_from([{}, {"parameters": {"binary_data_size": 4}}, {"parameters": None}]),
)
TF_BODIES = st.dictionaries(st.sampled_from(["instances", "inputs", "predictions", "outputs"]), ANYTHING, max_size=3)
VALUES = st.one_of(ANYTHING, MESSAGES, FEEDBACKS, V2_BODIES, TF_BODIES)
JSON_BODIES = VALUES.map(lambda value: json.dumps(value).encode(errors="replace"))
WIRE_BODIES = st.one_of(
    MESSAGES.map(lambda message: to_proto(message).SerializeToString()),
    FEEDBACKS.map(lambda feedback: feedback_to_proto(feedback).SerializeToString()),
    st.text(max_size=5).map(lambda name: v2.ModelInferRequest(model_name=name, id="1").SerializeToString()),
    st.text(max_size=5).map(lambda name: pb.SeldonModelMetadataRequest(name=name).SerializeToString()),
    st.binary(max_size=40),
)
CUT = st.integers(0, 400)
BODIES = st.builds(lambda body, at, cuts: body[:at] if cuts else body, JSON_BODIES | WIRE_BODIES, CUT, st.booleans())
PROTOCOLS = ["seldon", "v2", "tensorflow"]
DOCUMENTED = (500, "NODE_UNKNOWN")
"""Status and metadata of a node that is none (contract §3.9)."""
OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS}
"""Codes of gRPC that are never a client's mistake."""
FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
MAX_GROWTH_KB = 4 * 1024

ANSWERS = {
    "seldon": b'{"meta":{},"data":{"ndarray":[[0]]}}',
    "v2": b'{"outputs":[{"name":"x","shape":[1],"datatype":"INT64","data":[0]}]}',
    "tensorflow": b'{"predictions":[0]}',
}


def answering(protocol: str) -> Node:
    """A node that answers everything well, over both wires."""
    node = Node("m", rest=lambda _: Reply(ANSWERS[protocol]))
    output = v2.ModelInferResponse.InferOutputTensor(name="x", datatype="INT64", shape=[1])
    output.contents.int64_contents.append(0)
    answer = v2.ModelInferResponse(outputs=[output]).SerializeToString()
    if protocol == "seldon":
        answer = to_proto(json.loads(ANSWERS[protocol])).SerializeToString()
    node.grpc = lambda _, __: b"" if protocol == "tensorflow" else answer
    return node


@dataclass
class Served:
    protocol: str
    process: Process
    session: aiohttp.ClientSession
    channel: grpc.aio.Channel
    node: Node

    async def rest(self, verb: str, path: str, **options: Any) -> tuple[int, str]:
        self.node.seen.clear()
        async with self.session.request(verb, self.process.url + path, **options) as response:
            await response.read()
            return response.status, response.headers.get("x-slipway-reason", "")

    async def grpc(self, path: str, raw: bytes) -> tuple[grpc.StatusCode, str]:
        self.node.grpc_seen.clear()
        try:
            await self.channel.unary_unary(path)(raw)
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        return grpc.StatusCode.OK, ""

    async def check(self) -> None:
        assert self.process.process.returncode is None, self.process.log[-5:]
        assert await self.process.is_ready()

    def pss_kb(self) -> int:
        rollup = Path(f"/proc/{self.process.process.pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


def graph_of(protocol: str, node: Node) -> dict[str, Any]:
    """All kinds of nodes that the protocol has over both wires, one server playing each of them."""

    def unit(name: str, kind: str, *children: dict[str, Any]) -> dict[str, Any]:
        return {**node.graph(kind, *children), "name": name}

    if protocol == "tensorflow":
        return unit("m", "MODEL", unit("n", "MODEL"))
    routed = unit("r", "ROUTER", unit("m", "MODEL"), unit("o", "OUTPUT_TRANSFORMER", unit("n", "MODEL")))
    simple = {"name": "s", "implementation": "SIMPLE_MODEL"}
    average = {"name": "v", "implementation": "AVERAGE_COMBINER", "children": [simple, {**simple, "name": "u"}]}
    return unit("t", "TRANSFORMER", unit("c", "COMBINER", routed, average))


async def enter(stack: AsyncExitStack, protocol: str, folder: Path) -> Served:
    node = answering(protocol)
    await stack.enter_async_context(serving(node))
    predictor = folder / "predictor.json"
    predictor.write_text(json.dumps(predictor_of(graph_of(protocol, node))))
    flags = ("--protocol", protocol, "--predictor-file", str(predictor))
    environment = {"SELDON_ENABLE_ROUTING_INJECTION": "1", "SELDON_LOG_LEVEL": "INFO"}
    process = await stack.enter_async_context(started(*flags, environment=environment))
    await eventually(process.is_ready)
    port = re.search(r"gRPC on port (\d+)", "".join(process.log))
    assert port is not None
    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True), auto_decompress=False)
    )
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port[1]}"))
    return Served(protocol, process, session, channel, node)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


@pytest.fixture(scope="module", params=PROTOCOLS)
def served(
    runner: asyncio.Runner, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    stack = AsyncExitStack()
    yield runner.run(enter(stack, request.param, tmp_path_factory.mktemp(request.param)))
    runner.run(stack.aclose())


def test_no_rest_request_is_a_5xx_or_ends_the_process(served: Served, runner: asyncio.Runner) -> None:
    @given(
        st.sampled_from(["POST", "POST", "GET", "PUT", "OPTIONS", "HEAD"]),
        st.sampled_from([*REST_PATHS[served.protocol], *COMMON_PATHS]),
        BODIES,
        HEADERS,
    )
    @FUZZ
    def ask(verb: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        sent = None if verb == "HEAD" else body
        status, reason = runner.run(served.rest(verb, path, data=sent, headers=headers))
        assert status < 500 or (status, reason) == DOCUMENTED, (status, reason, served.process.log[-3:])

    ask()
    runner.run(served.check())


def test_no_grpc_message_is_an_internal_error_or_ends_the_process(served: Served, runner: asyncio.Runner) -> None:
    @given(st.sampled_from([*GRPC_PATHS[served.protocol], "/no.Such/Method"]), BODIES)
    @FUZZ
    def ask(path: str, raw: bytes) -> None:
        code, details = runner.run(served.grpc(path, raw))
        assert code not in OURS, (code, details, served.process.log[-3:])

    ask()
    runner.run(served.check())


def test_requests_of_any_name_leave_nothing_behind(served: Served, runner: asyncio.Runner) -> None:
    predict = {"seldon": "/api/v1.0/predictions", "v2": "/v2/models/infer", "tensorflow": "/v1/models/:predict"}
    bodies = {"seldon": b"{}", "v2": b'{"inputs":[]}', "tensorflow": b'{"instances":[]}'}

    async def ask_many(begin: int, end: int) -> None:
        for number in range(begin, end):
            named = {"Content-Type": "application/json", "Seldon-Puid": f"puid-{number}", "X-Mine": f"{number}"}
            body = bodies[served.protocol]
            assert (await served.rest("POST", predict[served.protocol], data=body, headers=named))[0] == 200
            await served.rest("GET", f"/no/such/{number}")
            await served.rest("GET", f"/v2/models/name{number}")
            await served.rest("POST", f"/v1/models/name{number}:predict", data=body, headers=named)
            await served.grpc(GRPC_PATHS[served.protocol][0], f"name{number}".encode())
            await served.grpc(f"/no.Such/Method{number}", b"")

    runner.run(ask_many(0, 200))
    settled_kb = served.pss_kb()
    runner.run(ask_many(200, 1000))
    assert served.pss_kb() - settled_kb < MAX_GROWTH_KB
    runner.run(served.check())


def test_answers_that_never_end_are_cut_off(served: Served, runner: asyncio.Runner) -> None:
    """A node's answer above the limit is its fault, told as such, and forgotten."""

    def endless(_: Seen) -> Reply:
        return Reply(b"[" + b"0," * (25 * 1024 * 1024) + b"0]")

    predict = {"seldon": "/api/v1.0/predictions", "v2": "/v2/models/infer", "tensorflow": "/v1/models/:predict"}
    bodies = {"seldon": b"{}", "v2": b'{"inputs":[]}', "tensorflow": b'{"instances":[]}'}
    well, served.node.rest = served.node.rest, endless
    try:
        settled_kb = served.pss_kb()
        for _ in range(3):
            told = runner.run(served.rest("POST", predict[served.protocol], data=bodies[served.protocol]))
            assert told == (502, "NODE_ANSWER_TOO_LARGE")
    finally:
        served.node.rest = well
    runner.run(served.check())
    assert served.pss_kb() - settled_kb < 4 * MAX_GROWTH_KB
