"""Provenance and time on every reply of an executor: one table of what can be asked, over both wires and all protocols."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
import pytest

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import inference_pb2 as v2
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import tensorflow_serving_pb2 as tf
from tests.executor.executors import Executor, executor
from tests.executor.nodes import Node, Refusal, Reply, Seen, serving

PREDICTOR, MODEL, REASON = "x-slipway-predictor", "x-slipway-model", "x-slipway-reason"
ROUTING, TIMING = "x-slipway-routing", "server-timing"
ALL = (PREDICTOR, MODEL, REASON, ROUTING, TIMING)
LEAF = "leaf/3 sha256:aa"
TIMED = re.compile(r"\w+;dur=\d+\.\d{3}(, \w+;dur=\d+\.\d{3})*")
INFER = b'{"inputs":[{"name":"x","datatype":"INT32","shape":[1],"data":[0]}]}'
INFERRED = b'{"outputs":[{"name":"x","datatype":"INT32","shape":[1],"data":[0]}]}'
ANSWERS = {
    "seldon": b'{"data":{"ndarray":[[0]]}}',
    "v2": INFERRED,
    "tensorflow": b'{"predictions":[0]}',
}


@dataclass(frozen=True)
class Case:
    """A question, what is expected of the reply's status, and which of ALL it has besides the predictor."""

    status: int
    has: frozenset[str]
    protocol: str = "seldon"
    verb: str = "POST"
    path: str = "/api/v1.0/predictions"
    body: bytes = b'{"data":{"ndarray":[[0]]}}'
    headers: Mapping[str, str] = field(default_factory=dict)
    leaf: int = 200
    """The status that the leaf answers with."""


ASKED = frozenset({TIMING, MODEL})
ROUTED = ASKED | {ROUTING}
FAILED = frozenset({REASON})
NOTHING: frozenset[str] = frozenset()
CASES = {
    "predict": Case(200, ROUTED),
    "predict refused by the leaf": Case(418, ROUTED | FAILED, leaf=418),
    "feedback": Case(200, ASKED, path="/api/v1.0/feedback", body=b'{"reward":1.0}'),
    "feedback refused": Case(500, ASKED | FAILED, path="/api/v0.1/feedback", body=b'{"reward":1.0}', leaf=500),
    "status of a node": Case(200, ASKED, verb="GET", path="/api/v1.0/status/leaf"),
    "status refused": Case(503, ASKED | FAILED, verb="GET", path="/api/v1.0/status/leaf", leaf=503),
    "metadata of a node": Case(200, ASKED, verb="GET", path="/api/v1.0/metadata/leaf"),
    "metadata of the graph": Case(200, ASKED, verb="GET", path="/api/v1.0/metadata"),
    "status of no node": Case(500, FAILED, verb="GET", path="/api/v1.0/status/none"),
    "live": Case(200, NOTHING, verb="GET", path="/live"),
    "ready": Case(200, NOTHING, verb="GET", path="/ready"),
    "metrics": Case(200, NOTHING, verb="GET", path="/prometheus"),
    "document": Case(200, NOTHING, verb="GET", path="/api/v1.0/doc/seldon.json"),
    "preflight": Case(200, NOTHING, verb="OPTIONS"),
    "unknown path": Case(404, FAILED, verb="GET", path="/nothing"),
    "wrong method": Case(405, FAILED, verb="DELETE"),
    "body too large": Case(413, FAILED, body=bytes(MAX_BODY_BYTES + 1)),
    "broken body": Case(400, FAILED, headers={"Content-Encoding": "gzip"}, body=b"no gzip"),
    "v2 infer": Case(200, ROUTED, "v2", path="/v2/models/infer", body=INFER),
    "v2 infer refused": Case(400, ROUTED | FAILED, "v2", path="/v2/models/infer", body=INFER, leaf=400),
    "v2 bad name": Case(400, FAILED, "v2", path="/v2/models/%2e%2e%2f/infer", body=INFER),
    "v2 bad header": Case(
        400, FAILED, "v2", path="/v2/models/infer", body=INFER, headers={"Inference-Header-Content-Length": "x"}
    ),
    "v2 model": Case(200, ASKED, "v2", verb="GET", path="/v2/models/leaf"),
    "v2 model ready": Case(200, ASKED, "v2", verb="GET", path="/v2/models/leaf/ready"),
    "v2 unknown model": Case(404, FAILED, "v2", verb="GET", path="/v2/models/none"),
    "v2 server": Case(200, NOTHING, "v2", verb="GET", path="/v2"),
    "v2 health": Case(200, NOTHING, "v2", verb="GET", path="/v2/health/ready"),
    "v2 feedback": Case(200, NOTHING, "v2", path="/api/v1.0/feedback"),
    "tensorflow predict": Case(200, ROUTED, "tensorflow", path="/v1/models/:predict", body=b'{"instances":[0]}'),
    "tensorflow refused": Case(
        404, ROUTED | FAILED, "tensorflow", path="/v1/models:predict", body=b'{"instances":[0]}', leaf=404
    ),
    "tensorflow status": Case(200, ASKED, "tensorflow", verb="GET", path="/v1/models/leaf"),
    "tensorflow metadata": Case(200, ASKED, "tensorflow", verb="GET", path="/v1/models/leaf/metadata"),
    "tensorflow unknown": Case(404, FAILED, "tensorflow", verb="GET", path="/v1/models/none"),
    "tensorflow feedback": Case(200, NOTHING, "tensorflow", path="/api/v1.0/feedback"),
}


def nodes(protocol: str, *, leaf: int = 200) -> tuple[Node, Node]:
    """A router that takes child 0, and that child, which has a model."""
    provenance = {"Content-Type": "application/json", MODEL: LEAF}
    answer = ANSWERS[protocol]

    def leaf_answer(_: Seen) -> Reply:
        return Reply(answer, leaf, provenance)

    found = Node("leaf", rest=leaf_answer)
    found.metadata = Reply(b'{"name":"leaf"}', headers=provenance)
    return Node("router", rest=lambda _: Reply(answer)), found


def found_in(headers: Mapping[str, Any]) -> set[str]:
    return {name for name in ALL if name in headers}


@pytest.mark.parametrize("name", CASES)
async def test_every_rest_reply_is_signed(name: str) -> None:
    case = CASES[name]
    router, leaf = nodes(case.protocol, leaf=case.leaf)
    async with (
        serving(router, leaf),
        executor(router.graph("ROUTER", leaf.graph("MODEL")), flags=["--protocol", case.protocol]) as client,
    ):
        body = io.BytesIO(case.body) if case.verb == "POST" else None
        sent = {"Content-Type": "application/json", **case.headers}
        answer = await client.ask(
            case.verb,
            aiohttp.client.URL(case.path, encoded=True),
            data=body,
            headers=sent,
            skip_auto_headers=["Accept"],
        )
    assert answer.status == case.status, answer.body
    assert found_in(answer.headers) == {PREDICTOR, *case.has}
    check_values(answer.headers, case.has)


def check_values(headers: Mapping[str, Any], has: frozenset[str]) -> None:
    assert headers[PREDICTOR] == "main"
    if MODEL in has:
        assert headers[MODEL] == LEAF
    if TIMING in has:
        assert TIMED.fullmatch(headers[TIMING])
        assert "leaf;dur=" in headers[TIMING]
    if ROUTING in has:
        assert headers[ROUTING] == '{"router":0}'
    if REASON in has:
        assert re.fullmatch(r"[A-Z_]+", headers[REASON])


async def test_reply_of_a_node_that_is_away_or_slow_is_signed() -> None:
    router, _ = nodes("seldon")
    away = {
        "name": "leaf",
        "type": "MODEL",
        "endpoint": {"service_host": "127.0.0.1", "httpPort": 1, "service_port": 1},
    }
    async with serving(router), executor(router.graph("ROUTER", away), ready=False) as client:
        answer = await client.post()
        ready = await client.get("/ready")
    assert (answer.status, answer.headers[REASON]) == (503, "NODE_UNREACHABLE")
    assert found_in(answer.headers) == {PREDICTOR, REASON, ROUTING, TIMING}
    assert (ready.status, ready.headers[REASON], ready.headers[PREDICTOR]) == (503, "NOT_READY", "main")


async def test_overload_and_broken_http_are_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.executor.engine.MAX_IN_FLIGHT", 0)
    router, leaf = nodes("seldon")
    async with serving(router, leaf), executor(router.graph("ROUTER", leaf.graph("MODEL"))) as client:
        refused = await client.post()
        url = client.session._base_url
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n")
        broken = (await reader.read()).decode().lower()
        writer.close()
    assert (refused.status, refused.headers[REASON]) == (429, "OVERLOADED")
    assert found_in(refused.headers) == {PREDICTOR, REASON}
    assert broken.startswith("http/1.0 400")
    assert f"{PREDICTOR}: main" in broken
    assert f"{REASON}: " in broken


TRAILING = ((MODEL, LEAF),)


def infer(_method: str, _request: bytes) -> bytes:
    response = v2.ModelInferResponse()
    response.outputs.add(name="x", datatype="INT32", shape=[1]).contents.int_contents.append(0)
    return response.SerializeToString()


def seldon(_method: str, _request: bytes) -> bytes:
    message = pb.SeldonMessage()
    message.data.ndarray.append(0)
    return message.SerializeToString()


GrpcAnswer = Callable[[str, bytes], bytes]
WIRES: dict[str, tuple[str, str, GrpcAnswer, frozenset[str]]] = {
    "predict": ("seldon", "/seldon.protos.Seldon/Predict", seldon, ROUTED),
    "feedback": ("seldon", "/seldon.protos.Seldon/SendFeedback", seldon, ASKED),
    "metadata": ("seldon", "/seldon.protos.Seldon/ModelMetadata", seldon, ASKED),
    "graph metadata": ("seldon", "/seldon.protos.Seldon/GraphMetadata", seldon, ASKED),
    "infer": ("v2", "/inference.GRPCInferenceService/ModelInfer", infer, ROUTED),
    "model ready": ("v2", "/inference.GRPCInferenceService/ModelReady", lambda *_: b"", ASKED),
    "server live": ("v2", "/inference.GRPCInferenceService/ServerLive", infer, NOTHING),
    "server metadata": ("v2", "/inference.GRPCInferenceService/ServerMetadata", infer, NOTHING),
}
ARGUMENTS: dict[str, Any] = {
    "metadata": pb.SeldonModelMetadataRequest(name="leaf"),
    "model ready": v2.ModelReadyRequest(name="leaf"),
}


@pytest.mark.parametrize("name", WIRES)
async def test_every_grpc_reply_is_signed(name: str) -> None:
    protocol, method, answer, has = WIRES[name]
    router, leaf = Node("router", grpc=answer), Node("leaf", grpc=answer, trailing=TRAILING)
    async with (
        serving(router, leaf),
        executor(router.graph("ROUTER", leaf.graph("MODEL")), flags=["--protocol", protocol]) as client,
    ):
        _, metadata = await client.call(ARGUMENTS.get(name, b""), method)
    assert found_in(metadata) == {PREDICTOR, *has}
    check_values(metadata, has)


async def test_tensorflow_s_grpc_reply_is_signed() -> None:
    leaf = Node("leaf", grpc=lambda *_: tf.PredictResponse().SerializeToString(), trailing=TRAILING)
    async with serving(leaf), executor(leaf.graph("MODEL"), flags=["--protocol", "tensorflow"]) as client:
        _, metadata = await client.call(tf.PredictRequest(), "/tensorflow.serving.PredictionService/Predict")
        _, status = await client.call(tf.GetModelStatusRequest(), "/tensorflow.serving.ModelService/GetModelStatus")
    for found in (metadata, status):
        assert found_in(found) == {PREDICTOR, *ASKED}
        check_values(found, ASKED)


async def refusal(client: Executor, request: Any, method: str) -> dict[str, Any]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.call(request, method)
    return dict(caught.value.trailing_metadata() or ())


async def test_every_grpc_refusal_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_method: str, _request: bytes) -> bytes:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "no", (MODEL, LEAF))

    router, leaf = Node("router", grpc=seldon), Node("leaf", grpc=refuse)
    async with serving(router, leaf), executor(router.graph("ROUTER", leaf.graph("MODEL"))) as client:
        refused = await refusal(client, b"", "/seldon.protos.Seldon/Predict")
        unknown_node = await refusal(
            client, pb.SeldonModelMetadataRequest(name="none"), "/seldon.protos.Seldon/ModelMetadata"
        )
        unknown_method = await refusal(client, b"", "/seldon.protos.Seldon/Nothing")
        unknown_service = await refusal(client, b"", "/some.Service/Method")
        monkeypatch.setattr("slipway.serving.admission.Admission.enter", _overloaded)
        overloaded = await refusal(client, b"", "/seldon.protos.Seldon/Predict")
    assert found_in(refused) == set(ALL)
    check_values(refused, frozenset(ALL))
    assert refused[REASON] == "NODE_REFUSED"
    for found, reason in (
        (unknown_node, "NODE_UNKNOWN"),
        (unknown_method, "METHOD_UNKNOWN"),
        (unknown_service, "METHOD_UNKNOWN"),
        (overloaded, "OVERLOADED"),
    ):
        assert found_in(found) == {PREDICTOR, REASON}
        assert (found[PREDICTOR], found[REASON]) == ("main", reason)


def _overloaded(_admission: Any) -> Any:
    from slipway.serving.admission import _overloaded as overloaded

    raise overloaded("full")


async def test_health_and_reflection_still_answer() -> None:
    """The handler of methods that there are not comes after the libraries' own."""
    leaf = Node("leaf")
    async with serving(leaf), executor(leaf.graph("MODEL")) as client:
        answer, _ = await client.call(b"", "/grpc.health.v1.Health/Check")
        reflected = client.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        call = reflected(iter([b"\x3a\x00"]))
        listed: bytes = await call.read()
    assert answer == b"\x08\x01"
    assert b"seldon.protos.Seldon" in listed
