from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data import REPOSITORY

ROUNDS = 3


@pytest.mark.data
def test_photo_benchmark_times_each_step_beside_the_network(tmp_path: Path) -> None:
    found = tmp_path / "photo.json"
    command = [sys.executable, REPOSITORY / "benchmarks" / "photo.py", "--rounds", str(ROUNDS), "--json", found]
    done = subprocess.run([*command, "--networks", "yolo-fastest-1.1-xl"], capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr  # 1: the median was above the limit
    results = json.loads(found.read_text())
    first = results["photos"][0]
    assert first["photo"] == "dog.jpg 768x576"
    assert first["boxes"] == 5
    assert all(len(times["cpu"]) == ROUNDS and min(times["cpu"]) > 0 for times in first["steps"].values())
    assert len(results["networks"]["yolo-fastest-1.1-xl"]["wall"]) == ROUNDS
    assert "| dog.jpg 768x576 | 0.25 | 5 |" in done.stdout
