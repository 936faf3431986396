"""The executor in front of our own microservice: the two must agree on the wire."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slipway.contract.protos import prediction_pb2 as pb
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
