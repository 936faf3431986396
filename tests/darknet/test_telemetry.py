"""Nothing about models leaves the machine: ONNX Runtime's telemetry is off wherever our library is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.data import REPOSITORY

PROGRAM = """
import builtins, os
real = builtins.__import__

def watched(name, *rest, **more):
    if name.partition(".")[0] == "onnxruntime":
        print(os.environ.get("ORT_DISABLE_TELEMETRY"))
        raise SystemExit(0)
    return real(name, *rest, **more)

builtins.__import__ = watched
import model_wrappers.darknet.engines.onnx_runtime
"""


@pytest.mark.parametrize(("given", "wanted"), [(None, "1"), ("0", "0")])
def test_telemetry_is_off_before_onnx_runtime_is_imported_unless_somebody_wants_it(
    given: str | None, wanted: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"ORT_DISABLE_TELEMETRY": given} if given else {}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == wanted
