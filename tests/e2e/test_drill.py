"""`slipway drill` as a person types it: without retries it loses, says so and leaves nothing behind (`make drill`: the rest)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data import REPOSITORY, SHARED_DATA
from tests.e2e.platform import Platform

pytestmark = pytest.mark.data
DRILL_TIMEOUT_S = 600
WORDS = ("--only", "executor", "--without", "retries", "--requests", "300")


def test_without_retries_a_killed_executor_loses(platform: Platform, tmp_path: Path) -> None:
    out = tmp_path / "drill.json"
    argv = [sys.executable, "-m", "slipway.cli.main", "drill", "--photos", str(SHARED_DATA / "photos")]
    done = subprocess.run(
        [*argv, "--out", str(out), *WORDS],
        cwd=REPOSITORY,
        env=platform.environment,
        capture_output=True,
        text=True,
        timeout=DRILL_TIMEOUT_S,
        check=False,
    )
    said = f"{done.stdout}\n{done.stderr}"
    assert (done.returncode, out.exists()) == (1, True), said
    (row,) = json.loads(out.read_text())["rows"]
    assert (row["drill"], row["isKept"]) == ("executor", False)
    assert row["lost"] > 0
    assert "promises are broken in executor" in done.stderr
    namespaces = platform.kubectl("get", "namespaces", "-o", "name").split()
    assert "namespace/slipway-drill" not in namespaces
