"""`slipway up` on a platform that runs: what it lacks is made anew, and nothing old is told as new."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.onebox_services.test_platform_e2e import Home
from tests.ports import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    yield made
    made.run("down")


def kubectl(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KUBECONFIG": str(home.paths.kubeconfig)}
    return subprocess.run(["kubectl", *words], env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_up_again_makes_a_deleted_gateway_anew_and_tells_no_old_seconds(home: Home) -> None:
    names = ("--gateway-port", "--api-port", "--mlflow-port", "--s3-port")
    ports = [word for name, port in zip(names, free_ports(4), strict=True) for word in (name, str(port))]
    first = home.run("up", "--only", "api", *ports)
    assert first.returncode == 0, first.stderr
    assert "was missing" not in first.stdout
    assert len(re.findall(r"^(?:api +ready|objects +done) +\d+\.\d s$", first.stdout, re.MULTILINE)) == 2
    gone = kubectl(home, "delete", "gateway", "seldon-gateway", "-n", "istio-system")
    assert gone.returncode == 0, gone.stderr

    again = home.run("up", "--only", "api")
    assert again.returncode == 0, again.stderr
    assert "Gateway seldon-gateway was missing: made anew\n" in again.stdout
    assert re.findall(r"^(?:api +ready|objects +done) +(.*)$", again.stdout, re.MULTILINE) == ["as before"] * 2
    assert "seldon-gateway" in kubectl(home, "get", "gateway", "-n", "istio-system").stdout


def test_up_gives_mlflow_a_password_that_was_lost(home: Home) -> None:
    ports = [
        word
        for name, port in zip(("--mlflow-port", "--s3-port"), free_ports(2), strict=True)
        for word in (name, str(port))
    ]
    first = home.run("up", "--only", "mlflow", *ports)
    assert first.returncode == 0, first.stderr
    assert home.run("down").returncode == 0
    (home.paths.secrets / "mlflow-admin-password").unlink()
    again = home.run("up", "--only", "mlflow")
    assert again.returncode == 0, again.stderr
    log = (home.paths.logs / "mlflow.log").read_text()
    assert "account admin: has the configured password again" in log
