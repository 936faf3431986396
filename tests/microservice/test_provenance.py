"""Provenance and time on every reply of a component, as a client of a predictor without an engine sees them."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from typing import Any

import grpc
import pytest

from slipway.contract.headers import ANSWERED_BY
from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import inference_pb2 as v2
from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.settings import NOT_IMPLEMENTED, Identity
from tests.microservice.conftest import Serve, Served

PREDICTOR, MODEL, REASON, TIMING = "x-slipway-predictor", "x-slipway-model", "x-slipway-reason", "server-timing"
ALL = (PREDICTOR, MODEL, REASON, TIMING)
SHAPES = "shapes/2 sha256:bb"
SIGNED = {PREDICTOR, MODEL}
TIMED = re.compile(r"\w+;dur=\d+\.\d\d")
BODY = b'{"data":{"ndarray":[[1.0]]}}'
INFER = b'{"inputs":[{"name":"x","datatype":"FP64","shape":[1,1],"data":[1]}]}'
REFUSED = b'{"data":{"ndarray":[[-1.0]]}}'
REFUSED_INFER = INFER.replace(b"[1]}", b"[-1]}")


class Refusing:
    """Answers 418 to a negative number."""

    provenance = {"name": "shapes", "version": "2", "digest": "sha256:bb"}  # noqa: RUF012 - as components have it

    def predict(self, X: Any, names: Any = None) -> Any:
        if X[0][0] < 0:
            error = ValueError("negative")
            error.status_code, error.reason = 418, "NEGATIVE"  # type: ignore[attr-defined]
            raise error
        return X


Ask = tuple[str, str, bytes | None, Mapping[str, str], int, frozenset[str]]
JSON = {"Content-Type": "application/json"}
TIMES, FAILS, NOTHING = frozenset({TIMING}), frozenset({REASON}), frozenset[str]()
REST: dict[str, Ask] = {
    "predict": ("POST", "/predict", BODY, JSON, 200, TIMES),
    "external predict": ("POST", "/api/v1.0/predictions", BODY, JSON, 200, TIMES),
    "predict by GET": ("GET", "/predict?json=%7B%22strData%22%3A%22a%22%7D", None, {}, 500, TIMES | FAILS),
    "refused": ("POST", "/predict", REFUSED, JSON, 418, TIMES | FAILS),
    "no JSON": ("POST", "/predict", b"{", JSON, 400, TIMES | FAILS),
    "feedback": ("POST", "/send-feedback", b'{"reward":1}', JSON, 200, TIMES),
    "transform": ("POST", "/transform-input", BODY, JSON, 200, TIMES),
    "no route": ("POST", "/route", BODY, JSON, 400, TIMES | FAILS),
    "infer": ("POST", "/v2/models/infer", INFER, JSON, 200, TIMES),
    "infer refused": ("POST", "/v2/models/infer", REFUSED_INFER, JSON, 418, TIMES | FAILS),
    "infer of another model": ("POST", "/v2/models/other/infer", INFER, JSON, 404, FAILS),
    "v2 metadata": ("GET", "/v2/models/Refusing", None, {}, 200, NOTHING),
    "v2 server": ("GET", "/v2", None, {}, 200, NOTHING),
    "v2 ready": ("GET", "/v2/health/ready", None, {}, 200, NOTHING),
    "v2 unknown": ("GET", "/v2/nothing", None, {}, 404, FAILS),
    "metadata": ("GET", "/metadata", None, {}, 200, NOTHING),
    "status": ("GET", "/health/status", None, {}, 200, NOTHING),
    "ping": ("GET", "/health/ping", None, {}, 200, NOTHING),
    "document": ("GET", "/seldon.json", None, {}, 200, NOTHING),
    "preflight": ("OPTIONS", "/predict", None, {}, 200, NOTHING),
    "unknown path": ("GET", "/nothing", None, {}, 404, FAILS),
    "wrong method": ("DELETE", "/predict", None, {}, 405, FAILS),
    "body too large": ("POST", "/predict", None, {"Content-Length": str(MAX_BODY_BYTES + 1)}, 413, FAILS),
}


def found_in(headers: Mapping[str, Any]) -> set[str]:
    return {name for name in ALL if name in headers}


async def raw(
    served: Served, verb: str, path: str, body: bytes | None, sent: Mapping[str, str]
) -> tuple[int, Mapping[str, str]]:
    """Status and headers of a request that is written as it is: one may announce a body that never comes."""
    length = {} if body is None else {"Content-Length": str(len(body))}
    lines = [f"{verb} {path} HTTP/1.1", "Host: a", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in {**length, **sent}.items()]
    port = served.servers.rest_ports[0]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join([*lines, "", ""]).encode() + (body or b""))
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    writer.close()
    named = [line.partition(": ") for line in head[1:] if line]
    return int(head[0].split()[1]), {name.lower(): value for name, _, value in named}


@pytest.mark.parametrize("name", REST)
@pytest.mark.parametrize("max_batch", [1, 4])
async def test_every_rest_reply_is_signed(serve: Serve, name: str, max_batch: int) -> None:
    verb, path, body, sent, status, has = REST[name]
    served = await serve(Refusing(), max_batch=max_batch)
    found, headers = await raw(served, verb, path, body, sent)
    assert found == status
    assert found_in(headers) == SIGNED | has
    assert (headers[PREDICTOR], headers[MODEL]) == ("pred", SHAPES)
    assert TIMING not in has or TIMED.fullmatch(headers[TIMING])
    assert REASON not in has or re.fullmatch("[A-Z_]+", headers[REASON])


async def test_broken_http_and_overload_are_signed(serve: Serve) -> None:
    served = await serve(Refusing(), max_in_flight=0)
    broken, headers = await raw(served, "POST", "/predict", None, {"Content-Length": "x"})
    refused, others = await raw(served, "POST", "/predict", BODY, JSON)
    assert (broken, refused, others[REASON]) == (400, 429, "OVERLOADED")
    assert found_in(headers) == found_in(others) == SIGNED | {REASON}


SELDON, V2 = "/seldon.protos.Model", "/inference.GRPCInferenceService"


def number(value: float) -> pb.SeldonMessage:
    message = pb.SeldonMessage()
    message.data.tensor.shape.extend([1, 1])
    message.data.tensor.values.append(value)
    return message


def inference(value: float) -> v2.ModelInferRequest:
    request = v2.ModelInferRequest()
    request.inputs.add(name="x", datatype="FP64", shape=[1, 1]).contents.fp64_contents.append(value)
    return request


async def call(
    served: Served, method: str, request: Any, *metadata: tuple[str, str]
) -> tuple[grpc.StatusCode, dict[str, Any]]:
    asked = served.channel.unary_unary(method)(request.SerializeToString(), metadata=metadata)
    with contextlib.suppress(grpc.aio.AioRpcError):
        await asked
    return await asked.code(), dict(await asked.trailing_metadata() or ())


OK, REFUSAL = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
GRPC: dict[str, tuple[str, Any, grpc.StatusCode, frozenset[str]]] = {
    "predict": (f"{SELDON}/Predict", number(1), OK, TIMES),
    "refused": (f"{SELDON}/Predict", number(-1), REFUSAL, TIMES | FAILS),
    "feedback": (f"{SELDON}/SendFeedback", pb.Feedback(reward=1), OK, TIMES),
    "metadata": (f"{SELDON}/Metadata", pb.SeldonModelMetadataRequest(), OK, NOTHING),
    "infer": (f"{V2}/ModelInfer", inference(1), OK, TIMES),
    "infer refused": (f"{V2}/ModelInfer", inference(-1), REFUSAL, TIMES | FAILS),
    "v2 ready": (f"{V2}/ServerReady", v2.ServerReadyRequest(), OK, NOTHING),
    "v2 metadata": (f"{V2}/ModelMetadata", v2.ModelMetadataRequest(name="x"), grpc.StatusCode.NOT_FOUND, FAILS),
    "unknown method": (f"{SELDON}/Nothing", number(1), grpc.StatusCode.UNIMPLEMENTED, FAILS),
    "graph's method": ("/seldon.protos.Seldon/GraphMetadata", number(1), grpc.StatusCode.UNIMPLEMENTED, FAILS),
}


@pytest.mark.parametrize("name", GRPC)
async def test_every_grpc_reply_is_signed(serve: Serve, name: str) -> None:
    method, request, code, has = GRPC[name]
    served = await serve(Refusing())
    found, metadata = await call(served, method, request)
    assert found is code
    assert found_in(metadata) == SIGNED | has
    assert (metadata[PREDICTOR], metadata[MODEL]) == ("pred", SHAPES)
    assert TIMING not in has or TIMED.fullmatch(metadata[TIMING])


async def test_feedback_about_another_predictor_s_reply_is_refused(serve: Serve) -> None:
    feedback, body = f"{SELDON}/SendFeedback", {"reward": 1}
    served = await serve(Refusing())
    for path in ("/send-feedback", "/api/v1.0/feedback"):
        status, answer = await served.post(path, body, headers={ANSWERED_BY: "gone"})
        assert (status, answer["status"]["reason"]) == (404, "FEEDBACK_PREDICTOR_UNKNOWN")
        assert (await served.post(path, body, headers={ANSWERED_BY: "pred"}))[0] == 200
    for name, code in (("gone", grpc.StatusCode.NOT_FOUND), ("pred", OK)):
        assert (await call(served, feedback, pb.Feedback(reward=1), (ANSWERED_BY, name)))[0] is code
    assert (await served.post("/predict", {"data": {"ndarray": [[1]]}}, headers={ANSWERED_BY: "gone"}))[0] == 200
    alone = await serve(Refusing(), identity=Identity("", "", NOT_IMPLEMENTED, NOT_IMPLEMENTED, ""))
    assert (await alone.post("/send-feedback", body, headers={ANSWERED_BY: "gone"}))[0] == 200


async def test_component_outside_of_a_predictor_names_none(serve: Serve) -> None:
    served = await serve(Refusing(), identity=Identity("", "", NOT_IMPLEMENTED, NOT_IMPLEMENTED, ""))
    _, headers = await raw(served, "POST", "/predict", BODY, JSON)
    assert found_in(headers) == {MODEL, TIMING}
