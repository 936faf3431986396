"""An executor and two components under load for half an hour: do memory and descriptors stay where they are?

    python benchmarks/soak.py                                       # 30 minutes at 70 % of what they can do
    python benchmarks/soak.py --minutes 2 --load 0.5 --json soak.json

What they can do is measured at the begin of every minute, by as many calls as fit: somebody else's work on the machine
changes it. For the rest of the minute calls begin at an even rate, whether or not those before have ended: REST and
gRPC in turns, small messages and every 50th a photo. Before all that, as many calls as may ever be under way at once
are, photos among them, over each wire alone and mixed: how much memory such a peak takes does not depend on when it
comes, and a machine that is also busy with other work has its highest one late. Every few seconds each process is
weighed (PSS, and its anonymous part) and its descriptors are counted. The slope of memory is a least-squares line
through the anonymous parts after the warm-up, with its standard error; it is judged in words, as is everything else:
nothing fails.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import math
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import aiohttp
import grpc
import uvloop

from benchmarks import command_line, processes
from benchmarks.graph import JSON, PREDICTIONS, Ports, graph
from benchmarks.processes import HOST
from slipway.contract.protos import prediction_pb2 as pb

NAMES = ("first", "second", "executor")
PHOTO = bytes(416 * 416 * 3)
PHOTO_EVERY = 50
PERIOD_S = 60.0
CALIBRATION_S = 2.0
CALLERS = 8
MAX_OUTSTANDING = 32
PEAK_S = 10.0
SAMPLE_S = 5.0
WARM_UP_SHARE = 1 / 3
"""Of the samples: pools and tables fill for some ten thousand calls."""

MAX_GROWTH_MB_PER_HOUR = 2.0
MAX_NEW_DESCRIPTORS = 4
"""More than in the first third: connections open and close a few at a time."""
SIGNIFICANT = 2.0
"""Standard errors that a slope has to be above zero by."""

Call = Callable[[], Awaitable[object]]
Turns = Iterator[tuple[str, Call]]


@dataclass
class Record:
    """What a run saw."""

    ms: dict[str, list[float]] = field(default_factory=lambda: {"REST": [], "gRPC": []})
    errors: Counter[str] = field(default_factory=Counter)
    capacities: list[float] = field(default_factory=list)
    """Calls per second, measured once in every period."""
    not_sent: int = 0
    """Calls whose turn came while MAX_OUTSTANDING were under way."""
    samples: list[dict[str, Any]] = field(default_factory=list)


def main() -> int:
    flags = _parser().parse_args()
    facts = processes.machine()
    with (
        tempfile.TemporaryDirectory() as folder,
        graph(Path(folder)) as (_nodes, executor, pids),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        record = runner.run(_soak(executor, pids, minutes=flags.minutes, share=flags.load))
    results = {"machine": facts, "minutes": flags.minutes, "share": flags.load, "calls_per_s": record.capacities}
    results |= {"samples": record.samples, "errors": dict(record.errors), "not_sent": record.not_sent}
    command_line.keep(results, flags.json)
    print(render(results, record))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--load", type=float, default=0.7, help="share of what the graph can do")
    return parser


async def _soak(executor: Ports, pids: Sequence[int], *, minutes: float, share: float) -> Record:
    http, rpc = executor
    target = f"{HOST}:{rpc}"
    record = Record()
    async with aiohttp.ClientSession() as session, grpc.aio.insecure_channel(target, options=_LARGE) as channel:
        calls = _calls(session, f"http://{HOST}:{http}{PREDICTIONS}", channel)
        for kinds in ([calls[-2]], [calls[-1]], calls):  # photos over one wire, over the other, the mix
            await _calls_per_s(itertools.cycle(kinds), record, callers=MAX_OUTSTANDING, seconds=PEAK_S)
        turns, ends = itertools.cycle(calls), time.monotonic() + minutes * 60
        weighing = asyncio.create_task(_weigh(pids, record))
        while (left_s := ends - time.monotonic()) > CALIBRATION_S:
            capacity = await _calls_per_s(turns, record, callers=CALLERS, seconds=CALIBRATION_S)
            record.capacities.append(capacity)
            rate = share * capacity
            await _keep_calling(turns, record, rate=rate, seconds=min(PERIOD_S, left_s) - CALIBRATION_S)
        weighing.cancel()
    return record


_LARGE = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def _calls(session: aiohttp.ClientSession, url: str, channel: grpc.aio.Channel) -> list[tuple[str, Call]]:
    """One cycle of calls, each with its wire: REST and gRPC in turns, the last two with a photo."""
    predict = channel.unary_unary("/seldon.protos.Seldon/Predict")
    small = pb.SeldonMessage(strData="a message")
    photo = pb.SeldonMessage(binData=PHOTO)

    def rest(message: dict[str, str]) -> Call:
        body = json.dumps(message).encode()

        async def call() -> None:
            async with session.post(url, data=body, headers={"Content-Type": JSON}) as response:
                await response.read()
                response.raise_for_status()

        return call

    def over_grpc(message: pb.SeldonMessage) -> Call:
        raw = message.SerializeToString()

        async def call() -> None:
            await predict(raw)

        return call

    pairs = [("REST", rest({"strData": small.strData})), ("gRPC", over_grpc(small))] * (PHOTO_EVERY - 1)
    return [*pairs, ("REST", rest({"binData": base64.b64encode(PHOTO).decode()})), ("gRPC", over_grpc(photo))]


async def _calls_per_s(turns: Turns, record: Record, *, callers: int, seconds: float) -> float:
    """What so many callers get done that each wait for their answers."""
    done, ends = 0, time.monotonic() + seconds

    async def caller() -> None:
        nonlocal done
        while time.monotonic() < ends:
            wire, call = next(turns)
            await _timed(wire, call, record)
            done += 1

    await asyncio.gather(*(caller() for _ in range(callers)))
    return done / seconds


async def _keep_calling(turns: Turns, record: Record, *, rate: float, seconds: float) -> None:
    """Begin ``rate`` calls per second, evenly, and wait for the last of them."""
    begun, under_way = time.monotonic(), set[asyncio.Task[None]]()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        wire, call = next(turns)
        if len(under_way) >= MAX_OUTSTANDING:
            record.not_sent += 1
            continue
        task = asyncio.create_task(_timed(wire, call, record))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)


async def _timed(wire: str, call: Call, record: Record) -> None:
    begun = time.perf_counter()
    try:
        await call()
    except (aiohttp.ClientError, grpc.aio.AioRpcError, TimeoutError) as error:
        code = error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
        record.errors[f"{wire} {code}"] += 1
        return
    record.ms[wire].append((time.perf_counter() - begun) * 1000)


async def _weigh(pids: Sequence[int], record: Record) -> None:
    begun = time.monotonic()
    while True:
        record.samples.append(
            {
                "at_s": time.monotonic() - begun,
                "load": processes.load(),
                "anonymous_mb": {name: processes.anonymous_mb(pid) for name, pid in zip(NAMES, pids, strict=True)},
                "pss_mb": {name: processes.pss_mb(pid) for name, pid in zip(NAMES, pids, strict=True)},
                "descriptors": {name: processes.descriptors(pid) for name, pid in zip(NAMES, pids, strict=True)},
            }
        )
        await asyncio.sleep(SAMPLE_S)


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Of the least-squares line through (x, y), and its standard error: s / sqrt(sum (x - mean)²), s² = SSE / (n - 2)."""
    xs, ys = zip(*points, strict=True)
    line = statistics.linear_regression(xs, ys)
    squares = sum((y - line.intercept - line.slope * x) ** 2 for x, y in points)
    spread = sum((x - statistics.fmean(xs)) ** 2 for x in xs)
    return line.slope, math.sqrt(squares / (len(points) - 2) / spread)


def grows(per_hour: float, error: float) -> bool:
    """Whether a slope in MB per hour is more than chance and more than what is allowed."""
    return per_hour > MAX_GROWTH_MB_PER_HOUR and per_hour > SIGNIFICANT * error


def render(results: dict[str, Any], record: Record) -> str:
    """Tables in Markdown and a sentence."""
    loads = [sample["load"] for sample in record.samples]
    shared = f"load {min(loads)} to {max(loads)}, median {statistics.median(loads):.1f}, other work included"
    possible = statistics.median(results["calls_per_s"])
    wanted = f"{results['minutes']:g} minutes at {results['share']:.0%} of {possible:.0f} calls/s (median)"
    samples = record.samples[int(len(record.samples) * WARM_UP_SHARE) :]
    faults = [f"{count} x {what}" for what, count in record.errors.items()]
    rows = []
    for name in NAMES:
        row, found = _judge(name, samples)
        rows.append(row)
        faults += found
    return "\n".join(
        [
            f"{processes.told(results['machine'])}. {wanted}; {shared}.",
            f"Not sent, because {MAX_OUTSTANDING} were under way: {record.not_sent}.",
            "",
            *_render_calls(record),
            "",
            "| process | PSS MB, most | anonymous MB, first and last | slope MB/h | standard error | descriptors, most |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"Verdict: {'; '.join(faults) or 'flat, and every call that was sent was answered'}.",
        ]
    )


def _judge(name: str, samples: Sequence[dict[str, Any]]) -> tuple[str, list[str]]:
    """The row of one process, and what is wrong with it."""
    per_hour, error = slope([(sample["at_s"] / 3600, sample["anonymous_mb"][name]) for sample in samples])
    ends = f"{samples[0]['anonymous_mb'][name]:.1f}, {samples[-1]['anonymous_mb'][name]:.1f}"
    most = max(sample["pss_mb"][name] for sample in samples)
    counts = [sample["descriptors"][name] for sample in samples]
    third = max(1, len(counts) // 3)
    more = max(counts[-third:]) - max(counts[:third])
    faults = [f"memory of {name} grows"] if grows(per_hour, error) else []
    faults += [f"descriptors of {name} grow"] if more > MAX_NEW_DESCRIPTORS else []
    row = f"| {name} | {most:.1f} | {ends} | {per_hour:+.2f} | {error:.2f} | {max(counts)} ({more:+d} in the last third) |"
    return row, faults


def _render_calls(record: Record) -> list[str]:
    lines = ["| wire | calls | p50 ms | p95 ms | p99 ms |", "|---|---|---|---|---|"]
    for wire, ms in record.ms.items():
        cuts = statistics.quantiles(ms, n=100)
        lines.append(f"| {wire} | {len(ms)} | {cuts[49]:.2f} | {cuts[94]:.2f} | {cuts[98]:.2f} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
