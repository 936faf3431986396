"""The benchmark at rest counts the processor time of a whole family, and names the largest process."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.idle import cpu_s, render, without_containers


def test_processor_time_is_that_of_the_children_too() -> None:
    argv = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert cpu_s(child.pid) >= 0.29
        assert cpu_s(os.getpid()) >= cpu_s(child.pid)
        child.communicate(b"\n")


def test_table_names_the_largest_process_and_the_bound() -> None:
    machine = {"cpu": "x", "cores": 2, "load": 0.1, "python": "3.11", "commit": "c"}
    small, large = {"mb": 10.0, "most": 11.0, "ms_per_s": 0.5}, {"mb": 80.0, "most": 90.0, "ms_per_s": 2.0}
    results = {"machine": machine, "seconds": 60.0, "by_count": {1: {"mesh": small}, 50: {"mesh": small, "api": large}}}
    text = render(results)
    assert "largest process 90 MB (api); at most 70: MISSED" in text
    assert "          -" in next(line for line in text.splitlines() if line.startswith("api"))


def test_containers_do_not_count_as_the_runners() -> None:
    def figures(mb: float, ms: float, *, count: int = 1) -> dict[str, float]:
        return {"mb": mb, "most": mb, "ms_per_s": ms, "together": mb * count, "together_ms": ms * count}

    found = without_containers({"runner": figures(130.0, 9.0), "model": figures(30.0, 2.0, count=3)}, ["model"])
    assert found["runner"] == {**figures(130.0, 9.0), "mb": 40.0, "most": 40.0, "ms_per_s": 3.0}
