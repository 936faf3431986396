"""What a storage initializer imports before it fetches: each Pod with a model waits for that."""

from __future__ import annotations

import json
import subprocess
import sys

IMPORTED = "import json, sys, slipway.storage.__main__; print(json.dumps(sorted(sys.modules)))"


def test_start_imports_no_client_of_the_registry_and_nothing_that_uploads() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True, timeout=50)
    imported = set(json.loads(done.stdout))
    assert "botocore" in imported
    assert not imported & {"aiohttp", "asyncio", "boto3", "s3transfer"}
