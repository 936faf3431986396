"""The API and the runner as processes of one home, and a Deployment for them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from slipway.kube.client import Kube
from slipway.kube.kinds import DEPLOYMENT, POD
from slipway.onebox.images.build import build
from slipway.onebox.paths import Paths
from tests.waiting import wait_until

TOKEN = "0123456789abcdef0123456789abcdef"
IMAGE = "test/web"
PROGRAM = """
import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"VERSION"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer((os.environ["SLIPWAY_POD_IP"], 9000), Handler).serve_forever()
"""


class Onebox:
    """The API and the runner of one home, started and killed as the tests need."""

    def __init__(self, paths: Paths, folder: Path) -> None:
        self.paths = paths
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start_api(self) -> None:
        self.paths.secrets.mkdir(parents=True, mode=0o700)
        (self.paths.secrets / "api-token").write_text(TOKEN)
        self._start("api", "slipway.onebox.api", "--home", str(self.paths.home), "--listen", "127.0.0.1:0")
        line = wait_until(lambda: next((item for item in self.log("api") if "serving" in item), ""), timeout_s=20)
        cluster = {"server": f"http://127.0.0.1:{line.strip().rpartition(':')[2]}"}
        config = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        self.paths.kubeconfig.write_text(yaml.safe_dump(config))

    def start_runner(self) -> None:
        flags = ("--home", str(self.paths.home), "--kubeconfig", str(self.paths.kubeconfig))
        self._start("runner", "slipway.onebox.runner", *flags)

    def build(self, tag: str, *, says: str) -> str:
        self._folder.mkdir(exist_ok=True)
        (self._folder / "image.yaml").write_text(
            f"name: {IMAGE}\nentrypoint: [python, web.py]\nrequirements: none.txt\n"
        )
        (self._folder / "none.txt").write_text("")
        (self._folder / "web.py").write_text(PROGRAM.replace("VERSION", says))
        return build(f"{IMAGE}:{tag}", paths=self.paths, folder=self._folder)

    def stop(self, name: str, number: signal.Signals) -> int:
        process = self._processes.pop(name)
        process.send_signal(number)
        return process.wait(30)

    def close(self) -> None:
        for name in ("runner", "api"):
            if name in self._processes:
                self.stop(name, signal.SIGTERM)

    def log(self, name: str) -> list[str]:
        path = self.paths.home / f"{name}.log"
        return path.read_text().splitlines() if path.exists() else []

    def _start(self, name: str, module: str, *flags: str) -> None:
        with (self.paths.home / f"{name}.log").open("ab") as stream:
            argv = [sys.executable, "-m", module, *flags]
            self._processes[name] = subprocess.Popen(argv, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)


def web(replicas: int = 2, *, tag: str = "1") -> dict[str, Any]:
    container = {
        "name": "web",
        "image": f"{IMAGE}:{tag}",
        "ports": [{"name": "http", "containerPort": 9000}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
    }
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 5},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template,
            "strategy": {"rollingUpdate": {"maxUnavailable": 0}},
        },
    }


async def pods(kube: Kube) -> list[dict[str, Any]]:
    return [
        pod for pod in (await kube.list(POD, namespace="default")).items if not pod["metadata"].get("deletionTimestamp")
    ]


async def rolled_out(kube: Kube) -> bool:
    """What ``kubectl rollout status`` waits for."""
    found = await kube.get(DEPLOYMENT, "web", namespace="default")
    status, wanted = found.get("status") or {}, found["spec"]["replicas"]
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    return status.get("observedGeneration") == found["metadata"]["generation"] and counts == [wanted] * 3
