"""The executor in front of our own microservice: the two must agree on the wire."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slipway.contract.protos import inference_pb2 as v2
from slipway.contract.protos import prediction_pb2 as pb
from slipway.serving.v2_json import V2Body, parse_infer_response, render_infer_request
from slipway.serving.v2_messages import InferRequest, InferResponse
from slipway.serving.v2_proto import parse_infer_response_proto, render_infer_request_proto
from slipway.serving.v2_tensors import Tensor, objects
from tests.data import REPOSITORY
from tests.executor.executors import executor

COMPONENT = '''
class Append:
    """Adds its letter to a text or to bytes; routes to its last child; joins what it combines."""

    def __init__(self, letter):
        self.letter = letter

    def predict(self, X, names=None, meta=None):
        return X + (self.letter.encode() if isinstance(X, bytes) else self.letter)

    transform_input = transform_output = predict

    def route(self, X, names=None, meta=None):
        return 1

    def aggregate(self, features, names):
        return b"+".join(features) if isinstance(features[0], bytes) else "+".join(features)
'''
PORTS = re.compile(r"REST \S*:(\d+), gRPC \S*:(\d+)")


@asynccontextmanager
async def microservice(folder: Path, name: str) -> AsyncIterator[dict[str, Any]]:
    """The component as a process; its name is the letter that it adds. Gives its endpoint."""
    parameters = json.dumps([{"name": "letter", "value": name, "type": "STRING"}])
    argv = [
        "appending.Append",
        "--http-port",
        "0",
        "--grpc-port",
        "0",
        "--metrics-port",
        "0",
        "--parameters",
        parameters,
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "slipway.microservice", *argv, cwd=folder, stderr=asyncio.subprocess.PIPE,
        env={"SLIPWAY_POD_IP": "127.0.0.1", "PREDICTIVE_UNIT_ID": name, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert process.stderr is not None
    try:
        found = None
        while found is None:
            line = (await asyncio.wait_for(process.stderr.readline(), 20)).decode()
            assert line, "the microservice ended before it served"
            found = PORTS.search(line)
        http, rpc = int(found[1]), int(found[2])
        yield {"service_host": "127.0.0.1", "service_port": http, "httpPort": http, "grpcPort": rpc}
    finally:
        process.kill()
        await process.communicate()


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    (tmp_path / "appending.py").write_text(COMPONENT)
    async with AsyncExitStack() as stack:
        started = [stack.enter_async_context(microservice(tmp_path, letter)) for letter in "abcd"]
        yield dict(zip("abcd", [await one for one in started], strict=True))


def graph(nodes: dict[str, Any]) -> dict[str, Any]:
    """a, then c over (b, d), then a's output step."""

    def unit(name: str, *children: dict[str, Any], **fields: Any) -> dict[str, Any]:
        return {"name": name, "endpoint": nodes[name], "children": list(children), **fields}

    below = unit("c", unit("b", type="MODEL"), unit("d", type="MODEL"), type="COMBINER")
    return unit("a", below, type="UNKNOWN_TYPE", methods=["TRANSFORM_INPUT", "TRANSFORM_OUTPUT"])


async def test_graph_of_microservices_over_rest_and_grpc(nodes: dict[str, Any]) -> None:
    photo = {"binData": base64.b64encode(b"x").decode(), "meta": {"tags": {"mine": 1}}}
    async with executor(graph(nodes)) as client:
        text = await client.post(b'{"strData":"x"}')
        raw = await client.post(json.dumps(photo).encode())
        accepted = await client.post(b'{"strData":"x"}', headers={"Accept": "application/x-protobuf"})
        answer, _ = await client.call(pb.SeldonMessage(strData="x"))
        wrong = await client.post(b"{}")
    assert json.loads(text.body)["strData"] == "xab+xada"
    said = json.loads(raw.body)
    assert (base64.b64decode(said["binData"]), said["meta"]["tags"]) == (b"xab+xada", {"mine": 1})
    assert accepted.headers["Content-Type"].startswith("application/x-protobuf")
    assert (
        pb.SeldonMessage.FromString(accepted.body).strData == pb.SeldonMessage.FromString(answer).strData == "xab+xada"
    )
    assert (wrong.status, wrong.headers["x-slipway-reason"]) == (400, "MICROSERVICE_BAD_DATA")
    assert json.loads(wrong.body)["status"]["code"] == -1


async def test_microservice_s_answers_travel_as_protobuf(nodes: dict[str, Any]) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{nodes['a']['httpPort']}/predict"
        headers = {"Content-Type": "application/json", "Accept": "application/x-protobuf, application/json"}
        async with session.post(url, data=b'{"strData":"x"}', headers=headers) as response:
            assert response.headers["x-slipway-wire"] == "protobuf"
            assert pb.SeldonMessage.FromString(await response.read()).strData == "xa"


def v2_graph(nodes: dict[str, Any]) -> dict[str, Any]:
    """a, then c over b and what d routes to, which is b again; then a's output step."""

    def unit(name: str, *children: dict[str, Any], **fields: Any) -> dict[str, Any]:
        return {"name": name, "endpoint": nodes[name], "children": list(children), **fields}

    routed = unit("d", unit("a", type="MODEL"), unit("b", type="MODEL"), type="ROUTER")
    below = unit("c", unit("b", type="MODEL"), routed, type="COMBINER")
    return unit("a", below, type="UNKNOWN_TYPE", methods=["TRANSFORM_INPUT", "TRANSFORM_OUTPUT"])


async def test_graph_of_microservices_in_protocol_v2(nodes: dict[str, Any]) -> None:
    request = InferRequest((Tensor("t", "BYTES", objects([b"x"], [1])),), id="7", parameters={"mine": 1})
    text = replace(request, inputs=(replace(request.inputs[0], parameters={"content_type": "str"}),))
    async with executor(v2_graph(nodes), flags=["--protocol", "v2"]) as client:
        for sent in (request, text):
            for binary in (False, True):
                asked = replace(sent, parameters={"mine": 1, "binary_data_output": binary})
                body = render_infer_request(asked, binary=lambda _, binary=binary: binary)
                size = {} if body.json_bytes is None else {"Inference-Header-Content-Length": str(body.json_bytes)}
                rest = await client.post(body.body, "/v2/models/infer", headers=size)
                assert rest.status == 200, rest.body
                length = rest.headers.get("Inference-Header-Content-Length")
                check_v2(parse_infer_response(V2Body(rest.body, int(length) if length else None)))
                proto = render_infer_request_proto(replace(sent, is_raw=binary))
                answer, trailing = await client.call(proto, "/inference.GRPCInferenceService/ModelInfer")
                check_v2(parse_infer_response_proto(v2.ModelInferResponse.FromString(answer)))
                for routing in (rest.headers["x-slipway-routing"], trailing["x-slipway-routing"]):
                    assert json.loads(routing) == {"d": 1}
        wrong = await client.post(b"{}", "/v2/models/infer")
    assert (wrong.status, wrong.headers["x-slipway-reason"]) == (400, "MICROSERVICE_BAD_DATA")
    assert list(json.loads(wrong.body)) == ["error"]


def check_v2(answer: InferResponse) -> None:
    (output,) = answer.outputs
    assert (output.datatype, output.array.tolist()) == ("BYTES", [b"xab+xaba"])
    assert (answer.id, answer.parameters) == ("7", {"mine": 1})
