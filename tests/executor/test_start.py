"""What an executor imports before it serves: each Pod waits for that."""

from __future__ import annotations

import json
import subprocess
import sys

IMPORTED = "import json, sys, slipway.executor.main; print(json.dumps(sorted(sys.modules)))"


def test_start_does_without_numpy() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True, timeout=50)
    imported = set(json.loads(done.stdout))
    assert "slipway.executor.main" in imported
    assert "numpy" not in imported
