"""The official ``seldon-core-microservice`` 1.17.1 and ours, side by side with the same component class."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.data import REPOSITORY
from tests.ports import free_ports
from tests.waiting import wait_until

OFFICIAL = REPOSITORY / ".venv-seldon" / "bin"
START_S = 45.0
IDENTITY = {
    "PREDICTIVE_UNIT_ID": "clf",
    "PREDICTIVE_UNIT_IMAGE": "registry.example:5000/clf:0.1",
    "SELDON_DEPLOYMENT_ID": "dep",
    "PREDICTOR_ID": "main",
    "PREDICTOR_LABELS": '{"version": "v1"}',
}


@dataclass(frozen=True)
class Pair:
    """REST addresses and gRPC targets of the two servers."""

    official_url: str
    official_grpc: str
    official_metrics: str
    ours_url: str
    ours_grpc: str
    ours_metrics: str


class Server:
    """A microservice in a process group of its own; the official one ignores SIGTERM, so the group is killed."""

    def __init__(self, argv: list[str], *, folder: Path, log: Path, environment: dict[str, str]) -> None:
        self.http, self.grpc, self.metrics = free_ports(3)
        self.log = log
        ports = ["--http-port", self.http, "--grpc-port", self.grpc, "--metrics-port", self.metrics]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*argv, *map(str, ports)],
                cwd=folder,
                env={"PATH": f"{OFFICIAL}:{os.environ['PATH']}", **IDENTITY, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        def listening() -> bool:
            assert self.process.poll() is None, self.log.read_text(errors="replace")
            return all(map(_accepts, (self.http, self.grpc, self.metrics)))

        wait_until(listening, timeout_s=START_S, what=f"the server of {self.log}")

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def start_official(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """``start_official(interface, folder)``: a class below ``folder`` under the official server."""
    if not (OFFICIAL / "seldon-core-microservice").exists():
        pytest.fail(f"{OFFICIAL} does not exist: run tests/conformance/environment")
    running: list[Server] = []

    def start(interface: str, folder: Path, **environment: str) -> Server:
        log = tmp_path_factory.mktemp("official") / "log"
        argv = [str(OFFICIAL / "python"), str(OFFICIAL / "seldon-core-microservice"), interface]
        running.append(Server(argv, folder=folder, log=log, environment=environment))
        return running[-1]

    yield start
    for server in running:
        server.end()


@pytest.fixture(scope="module")
def start_ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """The same under our server."""
    running: list[Server] = []

    def start(interface: str, folder: Path, **environment: str) -> Server:
        log = tmp_path_factory.mktemp("ours") / "log"
        argv = [sys.executable, "-m", "slipway.microservice", interface]
        ours = {"PYTHONPATH": str(REPOSITORY), **environment}
        running.append(Server(argv, folder=folder, log=log, environment=ours))
        return running[-1]

    yield start
    for server in running:
        server.end()
