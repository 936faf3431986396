"""How many threads an engine may use: what the environment says, else the process's share of the machine."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping
from pathlib import Path

THREADS_VARIABLE = "OMP_NUM_THREADS"
MAX_THREADS = 256
CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def engine_threads(environ: Mapping[str, str] = os.environ, quota: Path = CGROUP_QUOTA) -> int:
    """``OMP_NUM_THREADS`` if it is a positive number, else the smaller of CPU affinity and cgroup quota, rounded up."""
    stated = environ.get(THREADS_VARIABLE, "")
    if stated.isascii() and stated.isdigit() and int(stated) > 0:
        return min(int(stated), MAX_THREADS)
    allowed = len(os.sched_getaffinity(0))
    share = cgroup_cpus(quota.read_text()) if quota.is_file() else None
    return max(1, min(allowed, MAX_THREADS, math.ceil(share) if share else allowed))


def cgroup_cpus(text: str) -> float | None:
    """``cpu.max`` of cgroup v2 (``<quota|max> <period>`` in µs) as a number of CPUs; None without a limit."""
    quota, _, period = text.strip().partition(" ")
    return None if quota == "max" else int(quota) / int(period)


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's own name, where Linux tells it."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def machine_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Processor and system, such as ``AMD EPYC (family 25, model 17), Linux x86_64``: times hold on one like it."""
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    kinds = [f"{word} {facts[key]}" for word, key in (("family", "cpu family"), ("model", "model")) if key in facts]
    generation = f" ({', '.join(kinds)})" if kinds else ""  # a hypervisor may hide it in the name
    return f"{cpu_name(cpuinfo)}{generation}, {platform.system()} {platform.machine()}"
