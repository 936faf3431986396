"""An executor in this process, on free ports, and a client of each protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
from multidict import CIMultiDict
from yarl import URL

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.sdep import PredictorSpec
from slipway.executor.compile import compile_graph
from slipway.executor.process import running
from slipway.executor.settings import parse_settings
from slipway.executor.timeouts import call_limits
from slipway.serving.lifecycle import Lifecycle
from tests.executor.graphs import predictor_of
from tests.waiting import eventually

PREDICT = "/seldon.protos.Seldon/Predict"
PREDICTIONS = "/api/v1.0/predictions"


@dataclass
class Executor:
    session: aiohttp.ClientSession
    channel: grpc.aio.Channel
    lifecycle: Lifecycle
    rest_port: int

    async def post(self, body: Any = b'{"data":{"ndarray":[[0]]}}', path: str = PREDICTIONS, **options: Any) -> Answer:
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return await self.ask("POST", path, data=body, headers=headers, **options)

    async def get(self, path: str | URL, **options: Any) -> Answer:
        return await self.ask("GET", path, **options)

    async def ask(self, verb: str, path: str | URL, **options: Any) -> Answer:
        async with self.session.request(verb, path, **options) as response:
            return Answer(response.status, response.headers.copy(), await response.read())

    async def is_ready(self) -> bool:
        return (await self.get("/ready")).status == 200

    async def call(self, request: Any, method: str = PREDICT, **options: Any) -> tuple[bytes, dict[str, Any]]:
        """The raw answer and its initial and trailing metadata."""
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        call = self.channel.unary_unary(method)(raw, **options)
        answer: bytes = await call
        return answer, {**dict(await call.initial_metadata()), **dict(await call.trailing_metadata())}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: CIMultiDict[str]
    body: bytes


@asynccontextmanager
async def executor(
    graph: dict[str, Any],
    *,
    flags: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    annotations_of: Mapping[str, str] | None = None,
    ready: bool = True,
    **predictor: Any,
) -> AsyncIterator[Executor]:
    """An executor of ``graph``; it is ready when the block begins unless ``ready`` is False."""
    ports = ["--http_port", "0", "--grpc_port", "0"]
    argv = ["--sdep", "dep", "--namespace", "ns", *ports, "--prometheus_path", "/prometheus", *flags]
    settings = parse_settings(argv, {"SLIPWAY_POD_IP": "127.0.0.1", **(environment or {})})
    lifecycle = Lifecycle()
    async with running(
        compile_graph(
            PredictorSpec.from_json(predictor_of(graph, annotations=annotations_of or {}, **predictor)),
            log_url=settings.log_url,
        ),
        settings=settings,
        limits=call_limits(annotations or {}),
        lifecycle=lifecycle,
    ) as servers:
        url = f"http://127.0.0.1:{servers.rest_ports[0]}"
        async with (
            aiohttp.ClientSession(url, auto_decompress=False) as session,
            grpc.aio.insecure_channel(f"127.0.0.1:{servers.grpc_port}") as channel,
        ):
            found = Executor(session, channel, lifecycle, servers.rest_ports[0])
            if ready:
                await eventually(found.is_ready, what="the executor's readiness")
            yield found


def message(**fields: Any) -> pb.SeldonMessage:
    return pb.SeldonMessage(**fields)
