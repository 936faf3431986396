"""``python -m slipway.microservice`` as a child process on free ports."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tests.data import REPOSITORY
from tests.signals import HEARS_SIGNALS
from tests.waiting import wait_until

ECHO = """
import os
class Mod:
    def predict(self, X, names):
        return {"pid": os.getpid()}
    def metrics(self):
        return [{"type": "COUNTER", "key": "calls", "value": 1}]
"""
LOADED = ECHO + "    def load(self):\n        open('loads', 'a').write('load ')\n"
READY = re.compile(r"serving \S+: REST (\S+), gRPC (\S+), metrics (\S+)")
START_S = 30.0


def ask(address: str, path: str, body: object = None) -> tuple[int, bytes]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}{path}", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def metrics_address(process) -> str:
    return next(line.rpartition(" ")[2] for line in process.text().splitlines() if " workers; metrics " in line)


class MicroserviceProcess:
    """A running microservice; ``ready()`` gives its addresses."""

    def __init__(self, interface: str, *flags: str, folder: Path, environment: dict[str, str]) -> None:
        self.log = folder / "microservice.log"
        ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
        argv = [*HEARS_SIGNALS, sys.executable, "-m", "slipway.microservice", interface, *ports, *flags]
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                argv,
                cwd=folder,
                env={**kept, "PYTHONPATH": str(REPOSITORY), "SLIPWAY_POD_IP": "127.0.0.1", **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def ready(self, count: int = 1) -> tuple[str, str, str]:
        """REST, gRPC and metrics address of the last of ``count`` starts."""

        def found() -> list[tuple[str, str, str]]:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.text()}"
            lines = READY.findall(self.text())
            return lines if len(lines) >= count else []

        return wait_until(found, timeout_s=START_S, what="the microservice")[count - 1]

    def wait(self, timeout_s: float = 20.0) -> int:
        return self.process.wait(timeout_s)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
