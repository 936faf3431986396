"""What the executor adds: a chain of two trivial components through it, beside calling both of them directly.

One client, one request at a time, warm connections. Prints p50 and p95 in milliseconds and the overhead
(p50 through the executor less p50 of both bare calls); --output keeps every sample with machine and commit.

    python benchmarks/graph.py --requests 2000 --output graph.json
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import uvloop

from slipway.contract.protos import prediction_pb2 as pb

HOST = "127.0.0.1"
REPOSITORY = Path(__file__).resolve().parents[1]
START_S = 30.0
WARM_UP = 200
Call = Callable[[], Awaitable[Any]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def graph(nodes: list[tuple[str, int, int]]) -> dict[str, Any]:
    """The nodes as a chain, the first one first."""
    chain: list[dict[str, Any]] = []
    for name, http_port, grpc_port in reversed(nodes):
        endpoint = {"service_host": HOST, "service_port": http_port, "httpPort": http_port, "grpcPort": grpc_port}
        chain = [{"name": name, "type": "MODEL", "endpoint": endpoint, "children": chain}]
    return {"name": "main", "graph": chain[0]}


@contextlib.asynccontextmanager
async def process(*argv: str, ready: str, **environment: str) -> AsyncIterator[None]:
    """A module of ours, from the moment that ``ready`` answers 200."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *argv, cwd=REPOSITORY / "benchmarks", env={**os.environ, **environment},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await until_ready(ready)
        yield
    finally:
        started.terminate()
        await started.wait()


async def until_ready(url: str) -> None:
    deadline = time.monotonic() + START_S
    async with aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{url} did not answer 200 within {START_S:g} s")
            await asyncio.sleep(0.1)


async def measure(call: Call, requests: int) -> list[float]:
    """Milliseconds of each request after the warm-up."""
    for _ in range(WARM_UP):
        await call()
    samples = []
    for _ in range(requests):
        begun = time.perf_counter()
        await call()
        samples.append((time.perf_counter() - begun) * 1000)
    return samples


def rest_call(session: aiohttp.ClientSession, port: int, path: str, body: bytes) -> Call:
    url = f"http://{HOST}:{port}{path}"
    headers = {"Content-Type": "application/json"}

    async def call() -> None:
        async with session.post(url, data=body, headers=headers) as response:
            await response.read()
            response.raise_for_status()

    return call


def grpc_call(channel: grpc.aio.Channel, method: str, body: bytes) -> Call:
    invoke = channel.unary_unary(method)

    async def call() -> None:
        await invoke(body)

    return call


async def compare(requests: int, payload_bytes: int) -> dict[str, list[float]]:
    """Samples by name: the bare node and the executor, over REST and gRPC."""
    nodes = [(name, free_port(), free_port()) for name in ("first", "second")]
    http_port, grpc_port = free_port(), free_port()
    predictor = base64.b64encode(json.dumps(graph(nodes)).encode()).decode()
    message = pb.SeldonMessage(binData=os.urandom(payload_bytes))
    text = json.dumps({"binData": base64.b64encode(message.binData).decode()}).encode()
    async with contextlib.AsyncExitStack() as stack:
        for name, http, rpc in nodes:
            argv = ("slipway.microservice", "trivial.Trivial", "--http-port", str(http), "--grpc-port", str(rpc))
            metrics = ("--metrics-port", str(free_port()))
            ready = f"http://{HOST}:{http}/health/ping"
            await stack.enter_async_context(process(*argv, *metrics, ready=ready, PREDICTIVE_UNIT_ID=name))
        argv = ("slipway.executor", "--http_port", str(http_port), "--grpc_port", str(grpc_port))
        ready = f"http://{HOST}:{http_port}/ready"
        await stack.enter_async_context(process(*argv, ready=ready, ENGINE_PREDICTOR=predictor))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(f"{HOST}:{port}"))
            for port in (nodes[0][2], grpc_port)
        ]
        raw = message.SerializeToString()
        calls = {
            "REST bare node": rest_call(session, nodes[0][1], "/predict", text),
            "REST executor": rest_call(session, http_port, "/api/v1.0/predictions", text),
            "gRPC bare node": grpc_call(channels[0], "/seldon.protos.Model/Predict", raw),
            "gRPC executor": grpc_call(channels[1], "/seldon.protos.Seldon/Predict", raw),
        }
        return {name: await measure(call, requests) for name, call in calls.items()}


def report(samples: dict[str, list[float]]) -> str:
    lines = [f"{'':16} {'p50 ms':>8} {'p95 ms':>8}"]
    p50 = {name: statistics.median(values) for name, values in samples.items()}
    for name, values in samples.items():
        lines.append(f"{name:16} {p50[name]:8.3f} {statistics.quantiles(values, n=20)[18]:8.3f}")
    for wire in ("REST", "gRPC"):
        overhead = p50[f"{wire} executor"] - 2 * p50[f"{wire} bare node"]
        lines.append(f"{wire} overhead of the executor over two bare calls: {overhead:.3f} ms at p50")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000, help="of each kind, after the warm-up")
    parser.add_argument("--payload-bytes", type=int, default=64, help="size of binData")
    parser.add_argument("--output", type=Path, help="write every sample, with machine and commit, as JSON")
    flags = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        samples = runner.run(compare(flags.requests, flags.payload_bytes))
    print(report(samples))
    if flags.output:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        machine = f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
        flags.output.write_text(json.dumps({"machine": machine, "commit": commit.stdout.strip(), "ms": samples}))


if __name__ == "__main__":
    main()
