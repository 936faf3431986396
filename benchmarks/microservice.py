"""Time per call of one component that echoes, one caller, connections kept: ours, and the official server beside it.

    .venv/bin/python benchmarks/microservice.py [--calls 300] [--official] [--out results.json]

The official server needs .venv-seldon (tests/conformance/environment). Prints p50 and p95 in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import grpc

from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs

REPOSITORY = Path(__file__).resolve().parents[1]
ECHO = "class Echo:\n    def predict(self, X, names, meta=None):\n        return X\n"
RECORD = bytes(416 * 416 * 3)
WARM_UP = 20
START_S = 60.0

Call = Callable[[], Awaitable[object]]


def _start(official: bool, folder: Path) -> tuple[subprocess.Popen[bytes], int, int]:
    http, grpc_port, metrics = _free_ports(3)
    if official:
        binaries = REPOSITORY / ".venv-seldon" / "bin"
        argv = [str(binaries / "python"), str(binaries / "seldon-core-microservice")]
    else:
        argv = [sys.executable, "-m", "slipway.microservice"]
    ports = ["--http-port", str(http), "--grpc-port", str(grpc_port), "--metrics-port", str(metrics)]
    environment = {"PATH": os.environ["PATH"], "SELDON_LOG_LEVEL": "ERROR"}
    if not official:
        environment["PYTHONPATH"] = str(REPOSITORY)
    process = subprocess.Popen([*argv, "Echo", *ports], cwd=folder, env=environment, start_new_session=True)
    return process, http, grpc_port


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


async def _wait(port: int) -> None:
    async with asyncio.timeout(START_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def _measure(call: Call, calls: int) -> dict[str, float]:
    for _ in range(WARM_UP):
        await call()
    times_ms = []
    for _ in range(calls):
        start = time.perf_counter()
        await call()
        times_ms.append((time.perf_counter() - start) * 1000)
    return {"p50_ms": statistics.median(times_ms), "p95_ms": statistics.quantiles(times_ms, n=20)[-1]}


def _calls(session: aiohttp.ClientSession, url: str, channel: grpc.aio.Channel, *, official: bool) -> dict[str, Call]:
    def rest(body: bytes, content_type: str, accept: str = "*/*") -> Call:
        async def call() -> None:
            headers = {"Content-Type": content_type, "Accept": accept}
            async with session.post(url, data=body, headers=headers) as response:
                response.raise_for_status()
                await response.read()

        return call

    message = pb.SeldonMessage(binData=RECORD)
    record = json.dumps({"binData": base64.b64encode(RECORD).decode()}).encode()
    stub = stubs.ModelStub(channel)
    measured = {
        "REST ndarray 1x4": rest(b'{"data":{"ndarray":[[1.0,2.0,3.0,4.0]]}}', "application/json"),
        "REST binData 519 kB as JSON": rest(record, "application/json"),
        "gRPC binData 519 kB": lambda: stub.Predict(message),
    }
    if not official:
        kind = "application/x-protobuf"
        measured["REST binData 519 kB as protobuf"] = rest(message.SerializeToString(), kind, kind)
    return measured


async def _run(*, official: bool, calls: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Echo.py").write_text(ECHO)
        process, http, grpc_port = _start(official, Path(folder))
        try:
            await asyncio.gather(_wait(http), _wait(grpc_port))
            target = f"127.0.0.1:{grpc_port}"
            async with aiohttp.ClientSession() as session, grpc.aio.insecure_channel(target) as channel:
                table = _calls(session, f"http://127.0.0.1:{http}/predict", channel, official=official)
                return {name: await _measure(call, calls) for name, call in table.items()}
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # the official server ignores SIGTERM
            process.wait()


def main() -> None:
    """Measure, print a table, write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=300, help="measured calls per row (default 300)")
    parser.add_argument("--official", action="store_true", help="measure seldon-core-microservice 1.17.1 too")
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    flags = parser.parse_args()
    results = {"slipway": asyncio.run(_run(official=False, calls=flags.calls))}
    if flags.official:
        results["seldon-core 1.17.1"] = asyncio.run(_run(official=True, calls=flags.calls))
    for server, rows in results.items():
        for name, row in rows.items():
            print(f"{server:20} {name:34} p50 {row['p50_ms']:7.2f} ms   p95 {row['p95_ms']:7.2f} ms")
    if flags.out is not None:
        facts = {"machine": platform.machine(), "cpus": os.cpu_count(), "python": platform.python_version()}
        flags.out.write_text(json.dumps({"facts": facts, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
