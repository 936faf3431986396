"""Servers under a benchmark: started, asked until they are ready, weighed, ended; and what machine it all ran on."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
REPOSITORY = Path(__file__).resolve().parents[1]
START_S = 60.0
POLL_S = 0.002
STOP_S = 20.0


def free_ports(count: int) -> list[int]:
    """``count`` different ones: all are held until the last is known."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def process(argv: Sequence[str], *, folder: Path, environment: Mapping[str, str], term: bool = True) -> Iterator[int]:
    """A process group until the block ends; gives its pid. ``term`` False: killed at once, for what ignores SIGTERM."""
    inherited = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **environment}
    started = subprocess.Popen(
        argv, cwd=folder, env=inherited, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield started.pid
    finally:
        if term:
            started.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def module(name: str, *flags: object) -> list[str]:
    """The command line of a module of ours."""
    return [sys.executable, "-m", name, *map(str, flags)]


def microservice(component: str, ports: Sequence[int]) -> list[str]:
    """The flags that both microservices take: class, REST, gRPC and metrics port."""
    http, rpc, metrics = ports
    return [component, "--http-port", str(http), "--grpc-port", str(rpc), "--metrics-port", str(metrics)]


def chain(nodes: Sequence[tuple[str, int, int]]) -> dict[str, Any]:
    """A predictor whose models (name, REST and gRPC port) follow each other, the first one first."""
    below: list[dict[str, Any]] = []
    for name, http, rpc in reversed(nodes):
        endpoint = {"service_host": HOST, "service_port": http, "httpPort": http, "grpcPort": rpc}
        below = [{"name": name, "type": "MODEL", "endpoint": endpoint, "children": below}]
    return {"name": "main", "graph": below[0]}


def wait_until(holds: Callable[[], bool], *, what: str) -> float:
    """``time.monotonic()`` when it first held; TimeoutError after START_S."""
    deadline = time.monotonic() + START_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {START_S:g} s")
        time.sleep(POLL_S)
    return time.monotonic()


def accepts(port: int) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


class HttpError(Exception):
    """An answer other than 200."""


@dataclass
class Http:
    """The cheapest client there is: written bytes, a blocking socket, as few lines as an answer needs.

    What it measures is the server; a client library would add the same to every server, and so hide how they differ.
    """

    port: int
    head: bytes = field(default=b"", init=False)  # of the last answer
    _socket: socket.socket | None = field(default=None, init=False)

    def post(self, path: str, body: bytes, *, content_type: str, accept: str = "*/*") -> bytes:
        """The body of the answer; a connection that the server closes is opened again. HttpError for all but 200."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {HOST}:{self.port}\r\nContent-Type: {content_type}\r\n"
            f"Accept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return self._exchange(head.encode() + body)

    def get(self, path: str) -> bytes:
        """As ``post``."""
        return self._exchange(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{self.port}\r\n\r\n".encode())

    def _exchange(self, request: bytes) -> bytes:
        if self._socket is None:
            self._socket = socket.create_connection((HOST, self.port), timeout=START_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.sendall(request)
            head, body = self._head()
            self.head = head
            length = int(header_of(head, b"content-length") or 0)
            answer = self._rest(body, length)
        except OSError:
            self.close()
            raise
        if header_of(head, b"connection").lower() == b"close":
            self.close()
        if head.split(b" ", 2)[1] != b"200":
            raise HttpError(f"{head.splitlines()[0].decode()}: {answer[:200]!r}")
        return answer

    def _head(self) -> tuple[bytes, bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._received(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        return head, body

    def _rest(self, body: bytes, length: int) -> bytes:
        buffer = bytearray(length)
        buffer[: len(body)] = body
        view, at = memoryview(buffer), len(body)
        while at < length:
            chunk = self._socket.recv_into(view[at:]) if self._socket else 0
            if not chunk:
                raise ConnectionResetError("the server closed the connection in the middle of an answer")
            at += chunk
        return bytes(buffer)

    def _received(self, size: int) -> bytes:
        chunk = self._socket.recv(size) if self._socket else b""
        if not chunk:
            raise ConnectionResetError("the server closed the connection without an answer")
        return chunk

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def answers(self, path: str) -> bool:
        """Whether GET ``path`` is 200 by now."""
        try:
            self.get(path)
        except (OSError, HttpError):
            return False
        return True


def header_of(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return b""


def family(pid: int) -> list[int]:
    """The process and everything below it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def pss_mb(pid: int) -> float:
    """Proportional set size of a process and everything below it, in MB of 1024 * 1024 bytes."""
    return sum(_rollup_kb(one, "Pss") for one in family(pid)) / 1024


def anonymous_mb(pid: int) -> float:
    """The part of it that no file is behind. Only this is the process's own doing: its share of libraries grows when
    another process that has them ends."""
    return sum(_rollup_kb(one, "Pss_Anon") for one in family(pid)) / 1024


def _rollup_kb(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0])
    raise ValueError(f"/proc/{pid}/smaps_rollup has no {field}")


def cpu_ms(pid: int) -> float:
    """What a process and everything below it has had of the processors so far, to the nanosecond of the scheduler."""
    tasks = (task for one in family(pid) for task in Path(f"/proc/{one}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def descriptors(pid: int) -> int:
    """Open file descriptors of one process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def machine() -> dict[str, Any]:
    """``load`` is that of the last minute; a commit that ends in + has changes that are not in it."""
    model = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    return {
        "cpu": model.partition(":")[2].strip(),
        "cores": os.cpu_count(),
        "load": load(),
        "python": platform.python_version(),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "-uno") else ""),
    }


def load() -> float:
    """Of the last minute."""
    return round(os.getloadavg()[0], 1)


def told(facts: Mapping[str, Any]) -> str:
    """``machine()`` in one line."""
    return (
        f"{facts['cpu']}, {facts['cores']} cores, load {facts['load']}, Python {facts['python']}, "
        f"commit {facts['commit']}"
    )


def timed(call: Callable[[], object], count: int) -> list[float]:
    """Milliseconds of each of ``count`` calls."""
    samples = []
    for _ in range(count):
        begun = time.perf_counter()
        call()
        samples.append((time.perf_counter() - begun) * 1000)
    return samples


def verdict(value: float, at_most: float) -> str:
    """Whether a target is met, in words."""
    return "met" if value <= at_most else "MISSED"


def output(command: Sequence[str]) -> str:
    """Of a command in the repository's folder; CalledProcessError where it fails."""
    return subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _git(*arguments: str) -> str:
    return output(["git", *arguments])
