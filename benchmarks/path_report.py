"""What ``benchmarks/path.py`` has measured, as tables in Markdown; the ways that a photo goes, and the goals."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks import networks, processes
from benchmarks.processes import verdict

MODEL, LARGE_MODEL = "yolo-fastest-1.1-xl", "yolov3"
ALONE, REST, RPC = "in one process", "REST, the JPEG itself", "gRPC"
JSON_CLIENT, JSON_NODES = "REST, JSON", "REST, JSON to the nodes too"
WAYS = (REST, RPC, JSON_CLIENT, JSON_NODES)
BARE = "REST, relays that check nothing"
MAX_P50_MS, MAX_P99_MS, MIN_SHARE = 3.0, 8.0, 0.97
AT_ONCE = 3
BLOCK = 16  # photos one way, then another

ENGINE, PATH = "engine alone, all threads at one photo", "the path, its detector likewise"
ENGINE_TOGETHER, PATH_TOGETHER = (
    "engine alone, a photo to each thread",
    "the path, its detector likewise (`GUNICORN_THREADS`, `OMP_NUM_THREADS=1`)",
)


def by_services(by_way: Iterable[str]) -> list[str]:
    """All ways but the one process."""
    return [way for way in by_way if way != ALONE]


def render(results: dict[str, Any]) -> str:
    """Tables in Markdown."""
    facts = f"{processes.told(results['machine'])}; load {results['load_after']} after; {results['threads']} threads."
    lines = [facts, ""]
    if "latency" in results:
        lines += [*_render_latency(results["model"], results["latency"]), ""]
    if "throughput" in results:
        lines += _render_throughput(results["throughput"])
    return "\n".join(lines)


def _render_latency(model: str, found: dict[str, Any]) -> Iterator[str]:
    times, cpu_ms = found["ms"], {way: sum(parts.values()) for way, parts in found["cpu_ms"].items()}
    alone = [percentile(times[ALONE], share) for share in (50, 99)]
    yield f"{model} at {networks.SIDE}, JPEGs of {min(found['bytes'])} to {max(found['bytes'])} bytes, ms."
    yield ""
    yield "| | p50 | p99 | processors | over one process: p50 | p99 | processors | target | |"
    yield "|---|---|---|---|---|---|---|---|---|"
    yield f"| {ALONE} | {alone[0]:.2f} | {alone[1]:.2f} | {cpu_ms[ALONE]:.2f} | | | | | |"
    for way in by_services(times):
        p50, p99 = (percentile(times[way], share) for share in (50, 99))
        over = (p50 - alone[0], p99 - alone[1])
        judged = f"≤ {MAX_P50_MS:g}, ≤ {MAX_P99_MS:g} | {verdict(over[0], MAX_P50_MS)}, {verdict(over[1], MAX_P99_MS)}"
        yield (
            f"| {way} | {p50:.2f} | {p99:.2f} | {cpu_ms[way]:.2f} | {over[0]:.2f} | {over[1]:.2f} | "
            f"{cpu_ms[way] - cpu_ms[ALONE]:.2f} | {'none |' if way in (JSON_NODES, BARE) else judged} |"
        )
    yield ""
    yield from _render_parts(found)


def _render_parts(found: dict[str, Any]) -> Iterator[str]:
    """Where a photo's time goes."""
    parts = list(found["cpu_ms"][REST])
    yield f"| processors, ms of one photo | {' | '.join(parts)} |"
    yield "|---|" + "---|" * len(parts)
    for way in by_services(found["cpu_ms"]):
        yield f"| {way} | {' | '.join(format(found['cpu_ms'][way][part], '.2f') for part in parts)} |"
    inside = {name: statistics.median(values) for name, values in found["nodes_ms"].items()}
    rest = percentile(found["ms"][REST], 50) - sum(inside.values())
    told = ", ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in inside.items())
    yield ""
    yield f"{REST}, wall time by median: {told} (from the executor's call to its answer), gateway and executor {rest:.2f}."


def percentile(values: Sequence[float], share: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1]


def _render_throughput(found: dict[str, list[float]]) -> Iterator[str]:
    """Each way beside the engine alone, all its threads at one photo."""
    per_second = {name: statistics.median(values) for name, values in found.items()}
    yield f"{LARGE_MODEL} at {networks.SIDE}; the path with {AT_ONCE} photos under way; medians of {len(found[ENGINE])} blocks of {BLOCK}."
    yield ""
    yield "| | photos per second | share | target | |"
    yield "|---|---|---|---|---|"
    for name, rate in per_second.items():
        share = rate / per_second[ENGINE]
        judged = (
            f"≥ {MIN_SHARE:.0%} | {'met' if share >= MIN_SHARE else 'MISSED'}" if name in (PATH, PATH_TOGETHER) else "|"
        )
        yield f"| {name} | {rate:.3f} | {share:.1%} | {judged} |"
