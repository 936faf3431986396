"""A microservice as a process of its own, and questions to it: the official one and ours are asked the same way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc

from slipway.contract.protos import prediction_pb2_grpc as stubs
from tests.data import REPOSITORY
from tests.ports import free_ports
from tests.signals import HEARS_SIGNALS
from tests.waiting import wait_until

OFFICIAL = REPOSITORY / ".venv-seldon" / "bin"
OFFICIAL_WITH_ANNOTATIONS = Path(__file__).parent / "official.py"
ANNOTATIONS = "SLIPWAY_ANNOTATIONS_FILE"
START_S = 45.0
OFFICIAL_STARTS = 2
"""The official server forks with threads about, and about one start in a thousand never listens on all of its ports: it is
then started once more, as a kubelet would do. Ours has one start."""
ANSWER_S = 20.0
HOOKS = {
    "predict": (stubs.ModelStub, "Predict"),
    "transform_input": (stubs.TransformerStub, "TransformInput"),
    "transform_output": (stubs.OutputTransformerStub, "TransformOutput"),
    "route": (stubs.RouterStub, "Route"),
    "aggregate": (stubs.CombinerStub, "Aggregate"),
    "send_feedback": (stubs.ModelStub, "SendFeedback"),
}
"""Hook → the stub and method that ask for it over gRPC."""
NO_ANSWER = 0
"""Status of a REST call whose connection broke or whose answer did not come in time."""
IDENTITY = {
    "PREDICTIVE_UNIT_ID": "clf",
    "PREDICTIVE_UNIT_IMAGE": "registry.example:5000/clf:0.1",
    "SELDON_DEPLOYMENT_ID": "dep",
    "PREDICTOR_ID": "main",
    "PREDICTOR_LABELS": '{"version": "v1"}',
}

Reply = tuple[int, Any]
"""HTTP status, and the body: parsed where it is JSON."""


def official_command(environment: Mapping[str, str]) -> list[str]:
    """``seldon-core-microservice`` 1.17.1; a launcher of it where the annotations are not at its fixed path."""
    script = OFFICIAL_WITH_ANNOTATIONS if ANNOTATIONS in environment else OFFICIAL / "seldon-core-microservice"
    return [str(OFFICIAL / "python"), str(script)]


def our_command(_environment: Mapping[str, str]) -> list[str]:
    return [sys.executable, "-m", "slipway.microservice"]


class Server:
    """A microservice in a process group of its own; the official one ignores SIGTERM, so the group is killed."""

    def __init__(
        self, argv: list[str], *, folder: Path, log: Path, environment: Mapping[str, str], starts: int = 1
    ) -> None:
        self.http, self.grpc, self.metrics = free_ports(3)
        self.log = log
        ports = ["--http-port", self.http, "--grpc-port", self.grpc, "--metrics-port", self.metrics]
        self._argv = [*HEARS_SIGNALS, *argv, *map(str, ports)]
        self._folder = folder
        self._environment = {"PATH": f"{OFFICIAL}:{os.environ['PATH']}", **IDENTITY, **environment}
        self._starts_left = starts - 1
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self._argv,
                cwd=self._folder,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        ports = (self.http, self.grpc, self.metrics)

        def listening() -> bool:
            assert self.process.poll() is None, self.text()
            return all(map(_accepts, ports))

        try:
            wait_until(listening, timeout_s=START_S, what="listening on all ports")
        except AssertionError as error:
            silent = [port for port in ports if not _accepts(port)]
            said = f"{error}; silent of {ports}: {silent}\n{self.text()}"
            if self.process.poll() is not None or not self._starts_left:
                raise AssertionError(said) from error
            print(f"started once more: {said}")
            self.end()
            self._starts_left -= 1
            self.process = self._started()
            self.wait_ready()

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def ask(self, path: str, body: Any = None, **options: Any) -> Reply:
        """See ``ask``; of this server's REST port."""
        return ask(f"http://127.0.0.1:{self.http}{path}", body, **options)

    def call(self, stub: Any, method: str, message: Any) -> Any:
        """The answer to a gRPC call, or the RpcError that it is instead."""
        with self.channel() as channel:
            return call(getattr(stub(channel), method), message)

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc}") as channel:
            yield channel

    def metrics_text(self, path: str = "/metrics") -> str:
        status, text = ask(f"http://127.0.0.1:{self.metrics}{path}")
        assert status == 200, text
        return str(text)

    def end(self) -> None:
        with suppress(ProcessLookupError):  # all of it has ended
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def ask(
    url: str,
    body: Any = None,
    *,
    raw: bytes | None = None,
    content_type: str = "application/json",
    timeout_s: float = ANSWER_S,
) -> Reply:
    """GET, or POST where there is a ``body`` (sent as JSON) or ``raw`` bytes."""
    data = raw if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            return response.status, _parsed(response.read(), response.headers.get_content_type())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _parsed(error.read(), error.headers.get_content_type())
    except OSError as error:
        return NO_ANSWER, repr(error)


def _parsed(body: bytes, content_type: str) -> Any:
    return json.loads(body) if content_type == "application/json" else body.decode()


def call(method: Any, message: Any) -> Any:
    try:
        return method(message, timeout=ANSWER_S)
    except grpc.RpcError as error:
        return error


def multipart(*parts: tuple[str, str, bytes]) -> dict[str, Any]:
    """``raw`` and ``content_type`` of a form: (name, what follows it in Content-Disposition, content) for each part."""
    mark = "slipway-boundary"
    body = b"".join(
        f'--{mark}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"
        for name, more, content in parts
    )
    return {"raw": body + f"--{mark}--\r\n".encode(), "content_type": f"multipart/form-data; boundary={mark}"}


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
