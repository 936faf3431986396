"""`slipway drill` as a person types it: what is promised holds, and without retries the same drills lose."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.data import REPOSITORY, SHARED_DATA
from tests.e2e.platform import Platform

pytestmark = [pytest.mark.data, pytest.mark.timeout(1500)]
KILLS = ("pod", "executor", "node-yolo-detector")
REQUESTS = 700  # of each: 2,100 in all
DRILL_TIMEOUT_S = 1200


def drill(platform: Platform, folder: Path, *words: str, exit_code: int = 0) -> dict[str, dict[str, Any]]:
    """The rows by drill; an AssertionError with everything that it printed where it ends otherwise."""
    out = folder / "drill.json"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "slipway.cli.main",
            "drill",
            "--photos",
            str(SHARED_DATA / "photos"),
            "--out",
            str(out),
            *words,
        ],
        cwd=REPOSITORY,
        env=platform.environment,
        capture_output=True,
        text=True,
        timeout=DRILL_TIMEOUT_S,
        check=False,
    )
    said = f"{done.stdout}\n{done.stderr}"
    print(said)
    assert done.returncode == exit_code, said
    found = json.loads(out.read_text())
    assert found["kept"] == (exit_code == 0)
    return {row["drill"]: row for row in found["rows"]}


def test_killed_pods_executors_and_models_lose_nothing(platform: Platform, tmp_path: Path) -> None:
    rows = drill(platform, tmp_path, "--only", ",".join(KILLS), "--requests", str(REQUESTS))
    assert rows.keys() == set(KILLS)
    assert sum(row["sent"] for row in rows.values()) >= REQUESTS * len(KILLS)
    for row in rows.values():
        assert (row["lost"], row["wrong"]) == (0, 0)
        assert row["acts"] >= 2
        assert row["answered"] == row["sent"]


def test_one_killed_envoy_refuses_nobody(platform: Platform, tmp_path: Path) -> None:
    (row,) = drill(platform, tmp_path, "--only", "one-envoy", "--requests", "200").values()
    assert (row["lost"], row["wrong"], row["refusedTries"]) == (0, 0, 0)


def test_without_retries_the_same_kills_lose(platform: Platform, tmp_path: Path) -> None:
    words = ("--only", "pod,executor", "--without", "retries", "--requests", "300")
    rows = drill(platform, tmp_path, *words, exit_code=1)
    assert sum(row["lost"] for row in rows.values()) > 0
    namespaces = platform.kubectl("get", "namespaces", "-o", "name").split()
    assert "namespace/slipway-drill" not in namespaces
