"""The V2 protocol's own clients, from their environment: tritonclient and KServe's, at a component and at a graph."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.data import REPOSITORY
from tests.microservice.process import MicroserviceProcess
from tests.waiting import wait_until

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(300)]

CLIENTS_PYTHON = REPOSITORY / ".venv-v2-clients" / "bin" / "python"
PROGRAMS = REPOSITORY / "tests" / "conformance"
COMPONENT = """
class Mod:
    def predict(self, X, names, meta=None):
        return X
"""
PORTS = re.compile(r"REST on port (\d+), gRPC on port (\d+)")
MODEL = "m"


def told(program: str, *argv: str) -> dict[str, dict[str, Any]]:
    """What a client's program prints."""
    if not CLIENTS_PYTHON.exists():
        pytest.fail(f"{CLIENTS_PYTHON} does not exist: run tests/conformance/v2_environment")
    done = subprocess.run(
        [str(CLIENTS_PYTHON), str(PROGRAMS / program), *argv], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """REST and gRPC target of an echo that is the model ``m``."""
    folder = tmp_path_factory.mktemp("component")
    (folder / "Mod.py").write_text(COMPONENT)
    process = MicroserviceProcess("Mod", folder=folder, environment={"PREDICTIVE_UNIT_ID": MODEL})
    try:
        rest, grpc, _ = process.ready()
        yield rest, grpc
    finally:
        process.end()


@pytest.fixture(scope="module")
def graph(component: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """REST and gRPC target of an executor in front of it: transformer, model and output transformer in a chain."""
    folder = tmp_path_factory.mktemp("graph")
    manifest = folder / "sdep.yaml"
    manifest.write_text(json.dumps(_manifest(component)))
    log = folder / "executor.log"
    flags = ["--file", str(manifest), "--http-port", "0", "--grpc-port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "slipway.executor", *flags],
            env={"PATH": os.environ["PATH"], "SLIPWAY_POD_IP": "127.0.0.1", "PYTHONPATH": str(REPOSITORY)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: "ready: m" in log.read_text(), timeout_s=60, what="the executor")
        found = PORTS.search(log.read_text())
        assert found, log.read_text()
        yield f"127.0.0.1:{found[1]}", f"127.0.0.1:{found[2]}"
    finally:
        process.terminate()
        process.wait(30)


def _manifest(component: tuple[str, str]) -> dict[str, Any]:
    """One component three times: as a model, which is what its hooks are, and as transformers, which pass on."""
    http_port, grpc_port = (int(target.rpartition(":")[2]) for target in component)
    endpoint = {"service_host": "127.0.0.1", "service_port": http_port, "httpPort": http_port, "grpcPort": grpc_port}
    last = {"name": MODEL, "type": "OUTPUT_TRANSFORMER", "endpoint": endpoint}
    model = {"name": MODEL, "type": "MODEL", "endpoint": endpoint, "children": [last]}
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": "echo"},
        "spec": {"protocol": "v2", "predictors": [{"name": "main", "graph": model}]},
    }


def assert_right(found: dict[str, dict[str, Any]], *, checks: int) -> None:
    for wire, facts in found.items():
        refusal = facts.pop("refusal")
        assert "no model 'nobody' is served here; it is m" in refusal, wire
        wrong = {name: fact for name, fact in facts.items() if fact not in (True, "slipway", MODEL)}
        assert wrong == {}, wire
    assert sum(map(len, found.values())) == checks


@pytest.mark.parametrize("server", ["component", "graph"])
def test_tritonclient_gets_every_datatype_back(server: str, request: pytest.FixtureRequest) -> None:
    rest, grpc = request.getfixturevalue(server)
    assert_right(told("call_triton.py", rest, grpc, MODEL), checks=5 + 25 + 5 + 13)


@pytest.mark.parametrize("server", ["component", "graph"])
def test_kserve_clients_get_every_datatype_back(server: str, request: pytest.FixtureRequest) -> None:
    rest, grpc = request.getfixturevalue(server)
    assert_right(told("call_kserve.py", f"http://{rest}", grpc, MODEL), checks=3 + 13 + 3 + 13)
