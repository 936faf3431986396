"""The whole runner as a process, against the real API of one machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.kube.client import Kube
from slipway.kube.errors import NotFound
from slipway.kube.kinds import CONFIG_MAP, DEPLOYMENT, ENDPOINT_SLICE, EVENT, JOB, NODE, POD, REPLICA_SET
from slipway.onebox.images.build import build
from slipway.onebox.paths import Paths
from tests.waiting import eventually, wait_until

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


@pytest.fixture
async def onebox(tmp_path: Path) -> AsyncIterator[Onebox]:
    home = tmp_path / "home"
    home.mkdir()
    platform = Onebox(Paths(home), tmp_path / "source")
    try:
        platform.build("1", says="one")
        platform.start_api()
        platform.start_runner()
        yield platform
    finally:
        platform.close()


@pytest.fixture
async def kube(onebox: Onebox) -> AsyncIterator[Kube]:
    async with Kube.from_kubeconfig(onebox.paths.kubeconfig) as client:
        yield client


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


def service() -> dict[str, Any]:
    spec = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": spec}


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


async def endpoints(kube: Kube) -> list[str]:
    """Addresses that may be sent requests, as the mesh reads them."""
    slices = (await kube.list(ENDPOINT_SLICE, namespace="default")).items
    return [
        endpoint["addresses"][0]
        for item in slices
        for endpoint in item.get("endpoints") or ()
        if endpoint["conditions"]["ready"]
    ]


async def ask(address: str) -> str:
    reader, writer = await asyncio.open_connection(address, 9000)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer.rpartition(b"\r\n\r\n")[2].decode()


def container_of(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod["status"]["containerStatuses"][0]
    return found


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/exe").exists()


def pid_of(pod: dict[str, Any]) -> int:
    return int(container_of(pod)["containerID"].removeprefix("process://"))


async def test_row_77_a_deployment_serves_rolls_over_without_a_failed_request_and_goes(
    onebox: Onebox, kube: Kube
) -> None:
    await kube.create(service())
    await kube.create(web())
    await eventually(lambda: rolled_out(kube), timeout_s=30, what="the first roll-out")
    assert {await ask(address) for address in await eventually(lambda: endpoints(kube))} == {"one"}
    assert "web.default.svc.cluster.local" in onebox.paths.hosts.read_text()
    assert (await kube.get(NODE, "onebox"))["status"]["capacity"]["cpu"] == str(os.cpu_count())

    onebox.build("2", says="two")
    await kube.apply(web(tag="2"), field_manager="test")
    answers: list[str] = []
    while not (await rolled_out(kube) and len(await pods(kube)) == 2 and answers[-1:] == ["two"]):
        for address in await endpoints(kube):
            answers.append(await ask(address))  # noqa: PERF401  - one after the other, as a client would
    assert set(answers) == {"one", "two"}
    revision = (await kube.get(DEPLOYMENT, "web", namespace="default"))["metadata"]["annotations"]
    assert revision["deployment.kubernetes.io/revision"] == "2"

    await kube.delete(DEPLOYMENT, "web", namespace="default")
    await eventually(lambda: _is_empty(kube), timeout_s=20, what="nothing left")
    await eventually(lambda: not list(onebox.paths.pods.glob("default_*")))
    assert await endpoints(kube) == []
    assert "Traceback" not in "\n".join(onebox.log("runner"))


async def _is_empty(kube: Kube) -> bool:
    kinds = (POD, REPLICA_SET)
    return not [obj for kind in kinds for obj in (await kube.list(kind, namespace="default")).items]


async def test_a_killed_runner_s_pods_run_on_and_are_adopted(onebox: Onebox, kube: Kube) -> None:
    await kube.create(web())
    await eventually(lambda: rolled_out(kube), timeout_s=30)
    before = {pod["metadata"]["uid"]: pid_of(pod) for pod in await pods(kube)}
    assert onebox.stop("runner", signal.SIGKILL) == -signal.SIGKILL
    gone = (await pods(kube))[0]
    assert await ask(gone["status"]["podIP"]) == "one"
    # Deleted while no runner is there, at once: the next one finds the processes by their folder.
    await kube.delete(POD, gone["metadata"]["name"], namespace="default", grace_period_s=0)
    onebox.start_runner()
    await eventually(lambda: not is_alive(before[gone["metadata"]["uid"]]), timeout_s=20)
    await eventually(lambda: rolled_out(kube), timeout_s=20)
    after = {pod["metadata"]["uid"]: pid_of(pod) for pod in await pods(kube)}
    kept = before.keys() - {gone["metadata"]["uid"]}
    assert {uid: after.get(uid) for uid in kept} == {uid: before[uid] for uid in kept}


async def test_after_everything_was_killed_pods_come_back_on_their_digest_without_an_apply(
    onebox: Onebox, kube: Kube
) -> None:
    await kube.create(web())
    await eventually(lambda: rolled_out(kube), timeout_s=30)
    before = {pod["metadata"]["name"]: container_of(pod)["imageID"] for pod in await pods(kube)}
    onebox.stop("runner", signal.SIGKILL)
    for pod in await pods(kube):
        os.kill(pid_of(pod), signal.SIGKILL)
    moved = onebox.build("1", says="edited")  # the source is edited and the tag moves meanwhile
    onebox.start_runner()

    async def restarted() -> bool:
        return all(container_of(pod)["restartCount"] == 1 and container_of(pod)["ready"] for pod in await pods(kube))

    await eventually(restarted, timeout_s=20, what="the Pods are back")
    assert {pod["metadata"]["name"]: container_of(pod)["imageID"] for pod in await pods(kube)} == before
    assert moved not in before.values()
    assert {await ask(pod["status"]["podIP"]) for pod in await pods(kube)} == {"one"}


async def test_term_stops_every_pod_and_the_next_runner_starts_them_again(onebox: Onebox, kube: Kube) -> None:
    await kube.create(web(1))
    await eventually(lambda: rolled_out(kube), timeout_s=30)
    (pod,) = await pods(kube)
    assert onebox.stop("runner", signal.SIGTERM) == 0
    assert not is_alive(pid_of(pod))
    (stopped,) = await pods(kube)
    assert "terminated" in container_of(stopped)["state"]
    onebox.start_runner()
    await eventually(lambda: rolled_out(kube), timeout_s=20)
    (again,) = await pods(kube)
    assert again["metadata"]["uid"] == pod["metadata"]["uid"]


async def test_a_job_completes_and_its_log_stays(onebox: Onebox, kube: Kube) -> None:
    container = {
        "name": "main",
        "image": f"{IMAGE}:1",
        "command": ["python", "-c", "print('$(WORD)')"],
        "env": [{"name": "WORD", "value": "done"}],
    }
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    await kube.create(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": "default"}, "spec": spec}
    )

    async def complete() -> bool:
        status = (await kube.get(JOB, "once", namespace="default")).get("status") or {}
        return [item["type"] for item in status.get("conditions") or ()] == ["Complete"]

    await eventually(complete, timeout_s=20)
    (pod,) = await pods(kube)
    assert pod["status"]["phase"] == "Succeeded"
    lines = [chunk async for chunk in kube.logs(pod["metadata"]["name"], namespace="default")]
    assert b"".join(lines) == b"done\n"


async def test_a_config_map_reaches_a_running_pod_and_a_missing_image_is_explained(onebox: Onebox, kube: Kube) -> None:
    meta = {"name": "graph", "namespace": "default"}
    await kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"g": "old"}})
    deployment = web(1)
    spec = deployment["spec"]["template"]["spec"]
    spec["volumes"] = [{"name": "graph", "configMap": {"name": "graph"}}]
    spec["containers"][0]["volumeMounts"] = [{"name": "graph", "mountPath": "/etc/slipway/predictor"}]
    spec["containers"].append({"name": "never", "image": "test/never:1"})
    await kube.create(deployment)

    async def explained() -> list[str]:
        return [
            event["message"]
            for event in (await kube.list(EVENT, namespace="default")).items
            if "test/never:1" in event["message"]
        ]

    assert "slipway image build test/never:1" in (await eventually(explained, timeout_s=20))[0]
    (pod,) = await pods(kube)
    (folder,) = onebox.paths.pods.glob("default_*")
    assert (folder / "volumes" / "graph" / "g").read_text() == "old"
    await kube.patch(CONFIG_MAP, "graph", {"data": {"g": "new"}}, type="merge", namespace="default")
    await eventually(lambda: (folder / "volumes" / "graph" / "g").read_text() == "new")
    await kube.delete(POD, pod["metadata"]["name"], namespace="default", grace_period_s=1)

    async def gone() -> bool:
        with contextlib.suppress(NotFound):
            await kube.get(POD, pod["metadata"]["name"], namespace="default")
            return False
        return True

    await eventually(gone, timeout_s=20)


async def test_a_second_runner_on_the_same_home_is_refused(onebox: Onebox, kube: Kube) -> None:
    await eventually(
        lambda: any("mounted" in line or "translated" in line for line in onebox.log("runner")), timeout_s=20
    )
    argv = [sys.executable, "-m", "slipway.onebox.runner", "--home", str(onebox.paths.home)]
    argv += ["--kubeconfig", str(onebox.paths.kubeconfig)]
    second = await asyncio.create_subprocess_exec(*argv, stderr=subprocess.PIPE)
    _, said = await asyncio.wait_for(second.communicate(), 20)
    assert second.returncode == 1
    assert b"another runner works on" in said
