from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from model_wrappers.darknet.cpu import MAX_THREADS, cgroup_cpus, cpu_name, engine_threads, machine_name

NO_QUOTA = Path("/nonexistent/cpu.max")
ALLOWED = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("stated", "threads"), [("3", 3), ("100000", MAX_THREADS)])
def test_threads_follow_the_environment(stated: str, threads: int) -> None:
    assert engine_threads({"OMP_NUM_THREADS": stated}, NO_QUOTA) == threads


@pytest.mark.parametrize("stated", ["", "0", "-1", "two", "²"])
def test_threads_without_a_usable_statement_are_the_allowed_cpus(stated: str) -> None:
    assert engine_threads({"OMP_NUM_THREADS": stated}, NO_QUOTA) == ALLOWED


@pytest.mark.parametrize(
    ("quota", "threads"), [("50000 100000\n", 1), ("max 100000\n", ALLOWED), ("99900000 100000\n", ALLOWED)]
)
def test_threads_follow_the_cgroup_quota(tmp_path: Path, quota: str, threads: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert engine_threads({}, file) == threads


def test_cgroup_quota_is_read_in_cpus() -> None:
    assert cgroup_cpus("150000 100000") == 1.5
    assert cgroup_cpus("max 100000") is None


def test_machine_is_named_by_processor_generation_and_system(tmp_path: Path) -> None:
    system = f"{platform.system()} {platform.machine()}"
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n")
    assert machine_name(cpuinfo) == f"AMD EPYC (family 25, model 17), {system}"
    cpuinfo.write_text("processor\t: 0\nCPU part\t: 0xd0c\n")
    assert machine_name(cpuinfo) == f"unknown CPU, {system}"
    assert (cpu_name(tmp_path / "gone"), machine_name(tmp_path / "gone")) == ("unknown CPU", f"unknown CPU, {system}")
