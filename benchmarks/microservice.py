"""Our microservice beside the official one, in one run: the same class under both, called in turns.

    python benchmarks/microservice.py                                  # 20 rounds of 25 calls of each kind
    python benchmarks/microservice.py --rounds 5 --calls 10 --json microservice.json
    python benchmarks/microservice.py --alone                          # without the official server

The class gives back what it gets. Ours is there twice: as it is, with the class in a thread of its own, and with
``--inline``, where the class runs in the thread that serves, as it does in the official one. Each round calls every kind of request on one server and then on the other, and the next
round begins with the other one; a ratio is of the medians of all calls. The clients cost next to nothing and
connections are kept where the server keeps them, so the times are the servers'; only the photo over gRPC goes through gRPC's
own client, whose second thread keeps HTTP/2's windows open. Besides: memory (PSS) and processes after the calls,
and the time from the end of the class's ``load`` to the first answer of ``/health/ping``, over both ports. The official
server is .venv-seldon's (tests/conformance/environment). Nothing here fails: targets are judged in words.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc

from benchmarks import command_line, processes
from benchmarks.grpc_client import GrpcConnection
from benchmarks.processes import HOST, REPOSITORY, Http, timed, verdict
from slipway.contract.protos import prediction_pb2 as pb

COMPONENT = """\
import os, time

class Echo:
    def load(self):
        with open(os.environ["LOADED"], "w") as file:
            file.write(str(time.monotonic()))

    def predict(self, X, names=None, meta=None):
        return X
"""
OURS, INLINE, OFFICIAL = "slipway", "slipway --inline", "seldon-core 1.17.1"
PHOTO = bytes(416 * 416 * 3)
SMALL_JSON = b'{"data":{"ndarray":[[1.0,2.0,3.0,4.0]]}}'
WARM_UP = 20
PREDICT = "/seldon.protos.Model/Predict"
LARGE_MESSAGES = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))

MAX_REST, MAX_GRPC = 0.25, 0.5
MAX_PSS_MB, MAX_PROCESSES, MAX_READY_S = 70.0, 1, 1.0

Call = Callable[[], Any]


@dataclass(frozen=True)
class Server:
    pid: int
    http: int
    rpc: int
    ready_after_load_s: float


def main() -> int:
    flags = _parser().parse_args()
    official = REPOSITORY / ".venv-seldon" / "bin" / "seldon-core-microservice"
    names = [OURS, INLINE] if flags.alone else [OURS, INLINE, OFFICIAL]
    if OFFICIAL in names and not official.exists():
        print(f"{official}: not there; see tests/conformance/environment, or say --alone", file=sys.stderr)
        return 2
    results: dict[str, Any] = {"machine": processes.machine()}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "Echo.py").write_text(COMPONENT)
        servers = {name: stack.enter_context(_server(name, folder, official)) for name in names}
        calls = {name: _calls(server) for name, server in servers.items()}
        results["ms"] = interleave(calls, rounds=flags.rounds, count=flags.calls)
        results["facts"] = {name: _facts(server) for name, server in servers.items()}
    results["load_after"] = processes.load()
    command_line.keep(results, flags.json)
    print(render(results))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=25, help="of each kind on each server in a round")
    parser.add_argument("--alone", action="store_true", help="measure ours only")
    return parser


@contextlib.contextmanager
def _server(name: str, folder: Path, official: Path) -> Iterator[Server]:
    ports = processes.free_ports(3)
    loaded = folder / f"{name}.loaded"
    flags = [*processes.microservice("Echo", ports), *(["--inline"] if name == INLINE else [])]
    ours = name != OFFICIAL
    argv = (
        processes.module("slipway.microservice", *flags)
        if ours
        else [str(official.parent / "python"), str(official), *flags]
    )
    environment = {"SELDON_LOG_LEVEL": "ERROR", "LOADED": str(loaded)}
    if ours:
        environment["SLIPWAY_POD_IP"] = HOST
    else:
        environment["PYTHONPATH"] = ""
    with processes.process(argv, folder=folder, environment=environment, term=ours) as pid:
        http = Http(ports[0])
        processes.wait_until(lambda: http.answers("/health/ping"), what=f"{name}: /health/ping")
        ready_at = processes.wait_until(lambda: processes.accepts(ports[1]), what=f"{name}: its gRPC port")
        http.close()
        yield Server(pid, ports[0], ports[1], ready_at - float(loaded.read_text()))


def _calls(server: Server) -> dict[str, Call]:
    """Kind of request → one call of it. gRPC's (de)serialisation is left out: the bytes are made once."""
    http = Http(server.http)
    connection = GrpcConnection(server.rpc)
    channel = grpc.insecure_channel(f"{HOST}:{server.rpc}", options=LARGE_MESSAGES)
    small = pb.SeldonMessage()
    small.data.tensor.shape.extend([1, 4])
    small.data.tensor.values.extend([1.0, 2.0, 3.0, 4.0])
    small_proto = small.SerializeToString()
    photo = pb.SeldonMessage(binData=PHOTO).SerializeToString()
    photo_json = json.dumps({"binData": base64.b64encode(PHOTO).decode()}).encode()
    return {
        "REST small": lambda: http.post("/predict", SMALL_JSON, content_type="application/json"),
        "REST 519 kB binData": lambda: http.post("/predict", photo_json, content_type="application/json"),
        "gRPC small": lambda: connection.call(PREDICT, small_proto),
        "gRPC 519 kB binData": partial(channel.unary_unary(PREDICT), photo),
    }


def interleave(calls: dict[str, dict[str, Call]], *, rounds: int, count: int) -> dict[str, dict[str, list[float]]]:
    """Kind → server → milliseconds of every call, the servers called in turns."""
    names = list(calls)
    times: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in names} for kind in calls[names[0]]}
    for kind in times:
        for name in names:
            for _ in range(WARM_UP):
                calls[name][kind]()
    for number in range(rounds):
        for kind, found in times.items():
            for name in names[number % len(names) :] + names[: number % len(names)]:
                found[name] += timed(calls[name][kind], count)
    return times


def _facts(server: Server) -> dict[str, float]:
    return {
        "pss_mb": processes.pss_mb(server.pid),
        "processes": len(processes.family(server.pid)),
        "ready_after_load_s": server.ready_after_load_s,
    }


def render(results: dict[str, Any]) -> str:
    """Tables in Markdown."""
    lines = [f"{processes.told(results['machine'])}; load {results['load_after']} after.", ""]
    lines += [*_render_times(results["ms"]), "", *_render_facts(results["facts"])]
    return "\n".join(lines)


def _render_times(times: dict[str, dict[str, list[float]]]) -> Iterator[str]:
    """A ratio for each of ours."""
    names = list(next(iter(times.values())))
    ours = [name for name in names if name != OFFICIAL]
    yield f"| median (p95) ms | {' | '.join(names)} | target | {' | '.join(f'ratio of {name}' for name in ours)} |"
    yield "|---|" + "---|" * (len(names) + 1 + len(ours))
    for kind, found in times.items():
        cells = [f"{statistics.median(ms):.3f} ({statistics.quantiles(ms, n=20)[18]:.3f})" for ms in found.values()]
        most = MAX_REST if kind.startswith("REST") else MAX_GRPC
        judged = [_judged(found, name, most) for name in ours]
        yield f"| {kind} | {' | '.join([*cells, f'≤ {most:g}', *judged])} |"


def _judged(found: dict[str, list[float]], name: str, most: float) -> str:
    if OFFICIAL not in found:
        return "not compared"
    ratio = statistics.median(found[name]) / statistics.median(found[OFFICIAL])
    return f"{ratio:.2f} {verdict(ratio, most)}"


def _render_facts(facts: dict[str, dict[str, float]]) -> Iterator[str]:
    yield f"| after the calls | {' | '.join(facts)} | target | |"
    yield "|---|" + "---|" * (len(facts) + 2)
    for key, title, most, form in (
        ("pss_mb", "memory, PSS in MB", MAX_PSS_MB, ".0f"),
        ("processes", "processes", MAX_PROCESSES, ".0f"),
        ("ready_after_load_s", "ready after load, s", MAX_READY_S, ".2f"),
    ):
        cells = [format(found[key], form) for found in facts.values()]
        yield f"| {title} | {' | '.join(cells)} | ≤ {most:g} | {verdict(facts[OURS][key], most)} |"


if __name__ == "__main__":
    sys.exit(main())
