"""The command as a person meets it, against the real API process and against what is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from aiohttp.test_utils import unused_port

from tests.data import REPOSITORY
from tests.onebox_api.conftest import ApiProcess, api

__all__ = ["api"]
FIXED, BROKEN, NOT_THERE = 0, 1, 3
PAGE = REPOSITORY / "docs" / "doctor.md"


def doctor(kubeconfig: Path, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLIPWAY_", "KUBE"))}
    return subprocess.run(
        [sys.executable, "-m", "slipway.cli.main", "doctor", *words],
        env={**kept, "KUBECONFIG": str(kubeconfig), "SLIPWAY_HOME": str(kubeconfig.parent)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_one_machine_lacks_its_secret_until_it_is_there(api: ApiProcess) -> None:
    broken = doctor(api.paths.kubeconfig)
    assert broken.returncode == BROKEN, broken.stderr
    assert "slipway-system/slipway-model-storage: not there" in broken.stdout
    assert "→ slipway up" in broken.stdout
    assert broken.stdout.splitlines()[-1].endswith("1 to be fixed")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "slipway-system"}}
    keys = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "AWS_ACCESS_KEY_ID")
    values = dict.fromkeys((*keys, "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"), f"http://127.0.0.1:{unused_port()}")
    meta = {"name": "slipway-model-storage", "namespace": "slipway-system"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": values}
    api.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    api.kubectl("apply", "-f", "-", stdin=json.dumps(secret))
    fixed = doctor(api.paths.kubeconfig, "--json")
    assert fixed.returncode == FIXED, fixed.stderr
    report = json.loads(fixed.stdout)
    assert report["server"] == f"https://{api.address}"
    assert report["counts"]["fail"] == 0
    (mlflow,) = [item for item in report["findings"] if item["level"] == "unknown"]
    assert mlflow["what"].startswith("MLflow at http://127.0.0.1:")
    assert mlflow["what"].endswith("(from this machine)")


def test_an_api_that_is_not_there_is_one_sentence_and_ends_with_3(api: ApiProcess) -> None:
    api.kill()
    done = doctor(api.paths.kubeconfig)
    assert done.returncode == NOT_THERE
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "no cluster can be looked at" in line


def test_a_context_that_is_not_there_is_named(api: ApiProcess) -> None:
    done = doctor(api.paths.kubeconfig, "--context", "nowhere")
    assert done.returncode == BROKEN
    assert "no entry named 'nowhere'; there are: slipway" in done.stderr


def test_the_page_names_every_check() -> None:
    from slipway.doctor.order import CHECKS

    rows = [line.split("|")[1].strip() for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert rows[1:] == list(dict.fromkeys(check.name for check in CHECKS))
