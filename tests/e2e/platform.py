"""One real platform on free ports in a folder of its own, driven as a person would drive it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.onebox.paths import Paths
from slipway.onebox.supervisor.control import living_supervisor
from slipway.onebox.supervisor.procfs import descendants
from slipway.onebox.supervisor.state import load_states
from tests.data import REPOSITORY
from tests.ports import free_ports
from tests.waiting import wait_until

COMMAND_TIMEOUT_S = 400
READY_TIMEOUT_S = 120


@dataclass(frozen=True)
class Platform:
    """``gateway`` is host:port of REST, gRPC and the page."""

    home: Path
    ports: tuple[int, int, int, int]

    @classmethod
    def on_free_ports(cls, home: Path) -> Platform:
        gateway, api, mlflow, s3 = free_ports(4)
        return cls(home, (gateway, api, mlflow, s3))

    @property
    def gateway(self) -> str:
        return f"127.0.0.1:{self.ports[0]}"

    @property
    def paths(self) -> Paths:
        return Paths(self.home)

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SLIPWAY_", "MLFLOW_", "AWS_", "KUBE"))
        }
        if shared := os.environ.get("SLIPWAY_SHARED"):
            kept["SLIPWAY_SHARED"] = shared
        return {**kept, "SLIPWAY_HOME": str(self.home), "KUBECONFIG": str(self.paths.kubeconfig)}

    def run(self, *argv: str, check: bool = True, stdin: str | None = None, **variables: str) -> str:
        """A command in the repository's folder; its output, or an AssertionError that shows everything."""
        done = subprocess.run(
            argv,
            cwd=REPOSITORY,
            env={**self.environment, **variables},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + (done.stderr if not check else "")

    def slipway(self, *words: str, check: bool = True) -> str:
        return self.run(sys.executable, "-m", "slipway.cli.main", *words, check=check)

    def kubectl(self, *words: str, check: bool = True, stdin: str | None = None, **variables: str) -> str:
        return self.run("kubectl", *words, check=check, stdin=stdin, **variables)

    def up(self) -> str:
        names = ("--gateway-port", "--api-port", "--mlflow-port", "--s3-port")
        words = [word for name, port in zip(names, self.ports, strict=True) for word in (name, str(port))]
        return self.slipway("up", *words)

    def down(self) -> str:
        return self.slipway("down")

    def apply(self, manifest: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def pods(self, namespace: str = "default", selector: str = "") -> list[dict[str, Any]]:
        words = ["get", "pods", "-n", namespace, "-o", "json", *(["-l", selector] if selector else [])]
        items: list[dict[str, Any]] = json.loads(self.kubectl(*words))["items"]
        return items

    def wait_available(self, name: str, namespace: str = "default") -> None:
        """Until the controller says so for the present generation."""

        def available() -> bool:
            found = self.get("sdep", name, namespace)
            status = found.get("status") or {}
            is_current = status.get("observedGeneration") == found["metadata"]["generation"]
            return is_current and status.get("state") == "Available"

        wait_until(available, timeout_s=READY_TIMEOUT_S, what=f"{namespace}/{name} Available")

    def processes(self) -> set[int]:
        """Every process of the platform: the supervisor's, and the Pods'."""
        states = load_states(self.paths.run).values()
        roots = {state.identity.pid for state in states if state.identity and state.is_alive}
        if supervisor := living_supervisor(self.paths.run):
            roots.add(supervisor.pid)
        return set().union(*(descendants(pid) for pid in roots))
