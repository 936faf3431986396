"""A platform of a benchmark's own on free ports, in a folder of its own, and SeldonDeployments of a trivial class for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import trivial
from benchmarks.processes import HOST, REPOSITORY, free_ports
from slipway.kube.client import Kube
from slipway.onebox.images.store import remove_tree
from slipway.onebox.paths import Paths
from slipway.onebox.settings import load_settings
from slipway.onebox.supervisor.state import load_states

IMAGE = "benchmark/trivial:1"
REGISTRY = "postgres,s3,mlflow"
OTHERS = ("SLIPWAY_", "MLFLOW_", "AWS_", "KUBE")
COMMAND_S = 900.0

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """One running platform."""

    home: Path

    @property
    def paths(self) -> Paths:
        return Paths(self.home)

    @property
    def gateway_port(self) -> int:
        return load_settings(self.paths.settings).gateway_port

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
        return {**kept, "SLIPWAY_HOME": str(self.home), "KUBECONFIG": str(self.paths.kubeconfig)}

    def kube(self) -> Kube:
        return Kube.from_kubeconfig(self.paths.kubeconfig, user_agent="slipway-benchmark")

    def run(self, module: str, *words: str) -> str:
        """A module of ours with this platform in its environment; CalledProcessError shows in what it printed."""
        argv = [sys.executable, "-m", module, *words]
        done = subprocess.run(
            argv, cwd=REPOSITORY, env=self.environment, timeout=COMMAND_S, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(argv)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def pids(self) -> dict[str, int]:
        """Of the platform's processes that run, by name."""
        states = load_states(self.paths.run).items()
        return {name: state.identity.pid for name, state in states if state.identity and state.is_alive}


@contextlib.contextmanager
def platform(*, with_registry: bool = False) -> Iterator[Machine]:
    """Up, with the trivial class as an image, until the block ends; nothing of it stays."""
    home = Path(tempfile.mkdtemp(prefix="slipway-benchmark-"))
    machine = Machine(home / "home")
    names = ("--gateway-port", "--api-port", "--mlflow-port", "--s3-port")
    ports = [word for name, port in zip(names, free_ports(4), strict=True) for word in (name, str(port))]
    try:
        machine.run("slipway.cli.main", "up", *ports, *(() if with_registry else ("--without", REGISTRY)))
        _build_trivial(machine, home / "image")
        yield machine
    finally:
        machine.run("slipway.cli.main", "down")
        remove_tree(home)


def _build_trivial(machine: Machine, folder: Path) -> None:
    folder.mkdir()
    (folder / "trivial.py").write_text(Path(trivial.__file__).read_text())
    (folder / "image.yaml").write_text(f"name: {IMAGE.partition(':')[0]}\nclass: trivial.Trivial\n")
    machine.run("slipway.cli.main", "image", "build", IMAGE, str(folder))


def trivial_deployment(name: str, **component: Any) -> Manifest:
    """One MODEL with an executor; ``component``: more of its componentSpec."""
    containers = [{"name": "model", "image": IMAGE}]
    predictor = {
        "name": "main",
        "graph": {"name": "model", "type": "MODEL"},
        "componentSpecs": [{**component, "spec": {"containers": containers}}],
    }
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"predictors": [predictor]},
    }


def predictions(machine: Machine, manifest: Mapping[str, Any]) -> str:
    """Where a SeldonDeployment answers."""
    meta = manifest["metadata"]
    return f"http://{HOST}:{machine.gateway_port}/seldon/{meta['namespace']}/{meta['name']}/api/v1.0/predictions"
