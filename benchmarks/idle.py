"""What a platform costs while nobody asks it anything: memory and processor time by process, with more and more deployments.

Each SeldonDeployment is one MODEL of a trivial class with its executor. MB are PSS (of 1024 * 1024 bytes); processor time
is milliseconds per second, all threads together.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import command_line, processes
from benchmarks.onebox import Machine, platform, trivial_deployment
from benchmarks.processes import machine, pss_mb, told
from slipway.kube.kinds import SELDON_DEPLOYMENT
from slipway.onebox.services.pods import living_containers

COUNTS = (1, 10, 50)
REST_S = 30.0
MEASURE_S = 60.0
READY_S = 1200.0
POLL_S = 0.5
AT_MOST_MB = 70
TICKS = os.sysconf("SC_CLK_TCK")
ROLES = ("api", "controller", "runner", "mesh", "activator", "envoy-0", "envoy-1")
EPILOG = """\
examples:
  python -m benchmarks.idle                       # 1, 10 and 50 deployments
  python -m benchmarks.idle --count 1 --count 10 --seconds 20
"""

Figures = dict[str, dict[str, float]]


def main() -> int:
    arguments = _parser().parse_args()
    facts, found = machine(), {}
    with platform() as here:
        for count in sorted(arguments.count or COUNTS):
            asyncio.run(deploy(here, count))
            time.sleep(arguments.rest)
            found[count] = measure(here, arguments.seconds)
            print(f"{count} deployments measured", file=sys.stderr)
    results = {"machine": facts, "seconds": arguments.seconds, "by_count": found}
    command_line.keep(results, arguments.json)
    print(render(results))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(__doc__, epilog=EPILOG)
    parser.add_argument("--count", type=int, action="append", help="deployments; may be repeated (default 1, 10, 50)")
    parser.add_argument("--seconds", type=float, default=MEASURE_S, help=f"of each measurement (default {MEASURE_S:g})")
    parser.add_argument("--rest", type=float, default=REST_S, help=f"seconds of quiet before it (default {REST_S:g})")
    return parser


async def deploy(here: Machine, count: int) -> None:
    """Until ``count`` SeldonDeployments are Available; those that are there stay."""
    async with here.kube() as kube, asyncio.timeout(READY_S):
        for number in range(count):
            await kube.apply(trivial_deployment(f"idle-{number:03}"), field_manager="benchmark")
        while True:
            states = [(item.get("status") or {}).get("state") for item in (await kube.list(SELDON_DEPLOYMENT)).items]
            if states.count("Available") == count:
                return
            await asyncio.sleep(POLL_S)


def measure(here: Machine, seconds: float) -> Figures:
    """Role → MB and ms per second; of containers the mean of one and ``most``, the largest."""
    named = {name: [pid] for name, pid in here.pids().items() if name in ROLES}
    containers: dict[str, list[int]] = {}
    for key, first in living_containers(here.paths).items():
        containers.setdefault(key.rpartition("/")[2], []).append(first.pid)
    before, begun = _all_cpu_s({**named, **containers}), time.monotonic()
    time.sleep(seconds)
    after, took = _all_cpu_s({**named, **containers}), time.monotonic() - begun
    found: Figures = {}
    for role, pids in {**named, **containers}.items():
        sizes = [pss_mb(pid) for pid in pids]
        spent = [(after[pid] - before[pid]) * 1000 / took for pid in pids]
        found[role] = {"mb": statistics.mean(sizes), "most": max(sizes), "ms_per_s": statistics.mean(spent)}
        found[role]["together"], found[role]["together_ms"] = sum(sizes), sum(spent)
    return without_containers(found, containers)


def without_containers(found: Figures, containers: Collection[str]) -> Figures:
    """The runner's own figures: containers are its children."""
    runner = found["runner"]
    mb = runner["mb"] - sum(found[name]["together"] for name in containers)
    ms = runner["ms_per_s"] - sum(found[name]["together_ms"] for name in containers)
    return {**found, "runner": {**runner, "mb": mb, "most": mb, "ms_per_s": ms}}


def _all_cpu_s(roles: Mapping[str, Sequence[int]]) -> dict[int, float]:
    return {pid: cpu_s(pid) for pids in roles.values() for pid in pids}


def cpu_s(pid: int) -> float:
    """Of a process and everything below it, seconds since each began (proc(5): fields 14 and 15 of stat)."""
    total = 0
    for one in processes.family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def render(results: Mapping[str, Any]) -> str:
    by_count: Mapping[int, Figures] = results["by_count"]
    lines = [f"{told(results['machine'])}; {results['seconds']:g} s each", ""]
    lines.append(f"{'':28}" + "".join(f"{f'{count} deployments':>26}" for count in by_count))
    lines.append(f"{'process':28}" + f"{'MB':>10}{'most':>8}{'ms/s':>8}" * len(by_count))
    roles = dict.fromkeys(role for figures in by_count.values() for role in figures)
    for role in roles:
        cells = (figures.get(role, {}) for figures in by_count.values())
        lines.append(f"{role:28}" + "".join(_cells(cell) for cell in cells))
    largest = max((figure["most"], role) for figures in by_count.values() for role, figure in figures.items())
    verdict = processes.verdict(largest[0], AT_MOST_MB)
    lines += ["", f"largest process {largest[0]:.0f} MB ({largest[1]}); at most {AT_MOST_MB}: {verdict}"]
    return "\n".join(lines)


def _cells(figures: Mapping[str, float]) -> str:
    if not figures:
        return f"{'-':>10}{'-':>8}{'-':>8}"
    return f"{figures['mb']:10.1f}{figures['most']:8.1f}{figures['ms_per_s']:8.1f}"


if __name__ == "__main__":
    sys.exit(main())
