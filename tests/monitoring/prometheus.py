"""A real Prometheus for tests (Debian's package ``prometheus``), with the repository's configuration."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.onebox.mesh.layout import Layout
from slipway.onebox.paths import Paths
from tests.data import REPOSITORY
from tests.ports import free_ports
from tests.waiting import wait_until

MONITORING = REPOSITORY / "monitoring"
WRITTEN = "../.slipway/mesh/targets"
START_S = 30.0
ANSWER_S = 10.0
FASTER = {"scrape_interval: 5s": "scrape_interval: 1s", "evaluation_interval: 15s": "evaluation_interval: 1s"}


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not here: these tests need Debian's package prometheus"
    return found


def promtool(*words: str | Path) -> str:
    """What it says; an AssertionError that shows it where it is not content."""
    done = subprocess.run([program("promtool"), *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@dataclass(frozen=True)
class Prometheus:
    url: str

    def get(self, path: str, **parameters: str) -> Any:
        """``data`` of the answer; HTTPError where an expression is wrong."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
            return json.load(answer)["data"]

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Series with ``metric`` (labels) and ``value`` (time, text)."""
        found: list[dict[str, Any]] = self.get("query", query=expr)["result"]
        return found

    def targets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("targets", state="active")["activeTargets"]
        return found

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=ANSWER_S):
                return True
        except OSError:  # refused, reset, or 503 while it starts
            return False


@contextmanager
def running_prometheus(folder: Path, home: Path) -> Iterator[Prometheus]:
    """The repository's configuration for the home ``home``, in a hurry: it looks every second."""
    shutil.copytree(MONITORING, folder / "monitoring")
    config = folder / "monitoring" / "prometheus.yml"
    text = config.read_text()
    for old, new in {WRITTEN: str(Layout(Paths(home)).targets), **FASTER}.items():
        assert old in text, old
        text = text.replace(old, new)
    config.write_text(text)
    (port,) = free_ports(1)
    flags = (f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{port}")
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([program("prometheus"), *flags], stdout=log, stderr=log)
    try:
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        wait_until(prometheus.is_up, timeout_s=START_S, what="Prometheus")
        yield prometheus
    finally:
        process.terminate()
        process.wait(START_S)
