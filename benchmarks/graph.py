"""What the executor adds: a chain of two trivial components through it, beside the two bare calls that it makes.

    python benchmarks/graph.py                                 # 20 rounds of 50 of each, a message of 64 bytes
    python benchmarks/graph.py --rounds 5 --calls 20 --json graph.json
    python benchmarks/graph.py --payload-bytes 519168          # a photo of 416 x 416 as binData

One "bare" sample is a call of the first component and then one of the second, by the client itself; one "executor" sample
is a call of the executor, which makes those two. Each round takes all four kinds (bare and executor, REST and gRPC) in turns,
and the next one begins with another. The client costs next to nothing and connections are kept. Nothing here fails: the
target is judged in words.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc

from benchmarks import command_line, processes
from benchmarks.processes import HOST, REPOSITORY, Http, timed, verdict
from slipway.contract.protos import prediction_pb2 as pb

COMPONENT = "benchmarks.trivial.Trivial"
NODES = ("first", "second")
PREDICTIONS = "/api/v1.0/predictions"
JSON = "application/json"
WARM_UP = 100
MAX_OVERHEAD_MS = 1.0

Call = Callable[[], Any]


def main() -> int:
    flags = _parser().parse_args()
    results: dict[str, Any] = {"machine": processes.machine(), "payload_bytes": flags.payload_bytes}
    with tempfile.TemporaryDirectory() as folder, graph(Path(folder)) as (nodes, executor, _pids):
        calls = _calls(nodes, executor, payload=os.urandom(flags.payload_bytes))
        results["ms"] = interleave(calls, rounds=flags.rounds, count=flags.calls)
    results["load_after"] = processes.load()
    command_line.keep(results, flags.json)
    print(render(results))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=50, help="of each kind in a round")
    parser.add_argument("--payload-bytes", type=int, default=64, help="size of binData")
    return parser


Ports = tuple[int, int]
"""Of REST and gRPC."""


@contextlib.contextmanager
def graph(folder: Path) -> Iterator[tuple[list[Ports], Ports, list[int]]]:
    """Two components and an executor that chains them, once it is ready: the ports of each, and the pids of all."""
    with contextlib.ExitStack() as stack:
        nodes, pids = [], []
        for name in NODES:
            ports = processes.free_ports(3)
            environment = {"SLIPWAY_POD_IP": HOST, "PREDICTIVE_UNIT_ID": name}
            argv = processes.module("slipway.microservice", *processes.microservice(COMPONENT, ports))
            pids.append(stack.enter_context(processes.process(argv, folder=REPOSITORY, environment=environment)))
            nodes.append((ports[0], ports[1]))
        http, rpc = processes.free_ports(2)
        predictor = folder / "predictor.json"
        predictor.write_text(
            json.dumps(processes.chain([(name, *ports) for name, ports in zip(NODES, nodes, strict=True)]))
        )
        flags = ("--predictor-file", predictor, "--http-port", http, "--grpc-port", rpc)
        argv = processes.module("slipway.executor", *flags)
        pids.append(stack.enter_context(processes.process(argv, folder=folder, environment={"SLIPWAY_POD_IP": HOST})))
        processes.wait_until(lambda: Http(http).answers("/ready"), what="the executor: /ready")
        yield nodes, (http, rpc), pids


def _calls(nodes: list[Ports], executor: Ports, *, payload: bytes) -> dict[str, Call]:
    """Kind → one sample of it."""
    text = json.dumps({"binData": base64.b64encode(payload).decode()}).encode()
    raw = pb.SeldonMessage(binData=payload).SerializeToString()
    bare, served = [Http(http) for http, _ in nodes], Http(executor[0])
    predicts = [_rpc(rpc, "/seldon.protos.Model/Predict") for _, rpc in nodes]
    predict = _rpc(executor[1], "/seldon.protos.Seldon/Predict")

    def bare_rest() -> None:
        for node in bare:
            node.post("/predict", text, content_type=JSON)

    def bare_grpc() -> None:
        for call in predicts:
            call(raw)

    return {
        "REST bare": bare_rest,
        "REST executor": lambda: served.post(PREDICTIONS, text, content_type=JSON),
        "gRPC bare": bare_grpc,
        "gRPC executor": lambda: predict(raw),
    }


def _rpc(port: int, method: str) -> Callable[[bytes], bytes]:
    options = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
    call: Callable[[bytes], bytes] = grpc.insecure_channel(f"{HOST}:{port}", options=options).unary_unary(method)
    return call


def interleave(calls: dict[str, Call], *, rounds: int, count: int) -> dict[str, list[float]]:
    """Milliseconds of every sample of each kind, the kinds taken in turns."""
    for call in calls.values():
        timed(call, WARM_UP)
    kinds = list(calls)
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        first = number % len(kinds)
        for kind in kinds[first:] + kinds[:first]:
            times[kind] += timed(calls[kind], count)
    return times


def render(results: dict[str, Any]) -> str:
    """A table in Markdown."""
    times = results["ms"]
    facts = f"{processes.told(results['machine'])}; load {results['load_after']} after"
    lines = [
        f"{facts}; binData of {results['payload_bytes']} bytes.",
        "",
        "| median (p95) ms | two bare calls | through the executor | overhead at p50 | target | |",
        "|---|---|---|---|---|---|",
    ]
    for wire in ("REST", "gRPC"):
        bare, executor = times[f"{wire} bare"], times[f"{wire} executor"]
        overhead = statistics.median(executor) - statistics.median(bare)
        judged = f"≤ {MAX_OVERHEAD_MS:g} | {verdict(overhead, MAX_OVERHEAD_MS)}"
        lines.append(f"| {wire} | {_cell(bare)} | {_cell(executor)} | {overhead:.3f} | {judged} |")
    return "\n".join(lines)


def _cell(ms: list[float]) -> str:
    return f"{statistics.median(ms):.3f} ({statistics.quantiles(ms, n=20)[18]:.3f})"


if __name__ == "__main__":
    sys.exit(main())
