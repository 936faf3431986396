"""A Deployment and a Service of nobody's, looked after with kubectl, the official Python client and kr8s."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import kr8s.asyncio
import pytest
from kr8s.asyncio.objects import Deployment
from kubernetes import client, config, watch

from tests.e2e.platform import Platform
from tests.waiting import eventually, wait_until

SPACE, NAME, IMAGE = "bare", "hello", "e2e/hello"
PROGRAM = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = "VERSION {}".format(os.environ.get("GREETING", "")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): print("asked for", self.path, flush=True)
http.server.ThreadingHTTPServer((os.environ["SLIPWAY_POD_IP"], 8080), Handler).serve_forever()
"""
SETTLES_S = 60


class Bare:
    """kubectl in the namespace of the Deployment."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    def kubectl(self, *words: str, check: bool = True) -> str:
        return self.platform.kubectl(*words, "-n", SPACE, check=check)

    def settle(self) -> None:
        assert "successfully rolled out" in self.kubectl(
            "rollout", "status", f"deployment/{NAME}", f"--timeout={SETTLES_S}s"
        )

    def get(self) -> dict[str, Any]:
        return self.platform.get("deployment", NAME, SPACE)

    def pods(self) -> dict[str, str]:
        """Name → image of those that stay."""
        return {
            pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"]
            for pod in self.platform.pods(SPACE)
            if "deletionTimestamp" not in pod["metadata"]
        }

    def says(self) -> str:
        """What the Service answers; empty where the connection breaks: these Pods end at once, their endpoints a moment later."""
        address = self.platform.get("service", NAME, SPACE)["spec"]["clusterIP"]
        try:
            with urllib.request.urlopen(f"http://{address}:8000/", timeout=10) as reply:
                text: str = reply.read().decode()
        except OSError:
            return ""
        return text.strip()

    def wait_answers(self) -> None:
        wait_until(self.says, timeout_s=SETTLES_S, what="an answer of the Service")

    def wait_says(self, text: str) -> None:
        wait_until(lambda: self.says() == text, timeout_s=SETTLES_S, what=f"the Service says {text}")


@pytest.fixture(scope="module")
def bare(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    """Two Pods of the first image behind a Service, made with kubectl's own commands."""
    for version in ("1", "2"):
        folder = tmp_path_factory.mktemp(f"hello{version}")
        (folder / "image.yaml").write_text(f"name: {IMAGE}\nentrypoint: [python, hello.py]\nrequirements: none.txt\n")
        (folder / "none.txt").write_text("")
        (folder / "hello.py").write_text(PROGRAM.replace("VERSION", version))
        platform.slipway("image", "build", f"{IMAGE}:{version}", str(folder))
    made = Bare(platform)
    platform.kubectl("create", "namespace", SPACE)
    made.kubectl("create", "deployment", NAME, f"--image={IMAGE}:1", "--replicas=2", "--port=8080")
    made.kubectl("expose", "deployment", NAME, "--port=8000", "--target-port=8080")
    made.settle()
    yield made
    platform.kubectl("delete", "namespace", SPACE, "--timeout=60s")
    assert SPACE not in platform.kubectl("get", "namespaces")
    assert not platform.pods(SPACE)


def test_kubectl_rolls_a_bare_deployment_forth_and_back(bare: Bare) -> None:
    bare.wait_says("1")
    bare.kubectl("set", "image", f"deployment/{NAME}", f"{NAME}={IMAGE}:2")
    bare.settle()
    bare.wait_says("2")
    assert set(bare.pods().values()) == {f"{IMAGE}:2"}
    assert re.findall(r"(?m)^(\d+) ", bare.kubectl("rollout", "history", f"deployment/{NAME}")) == ["1", "2"]
    assert f"{IMAGE}:1" in bare.kubectl("rollout", "history", f"deployment/{NAME}", "--revision=1")
    bare.kubectl("rollout", "undo", f"deployment/{NAME}")
    bare.settle()
    bare.wait_says("1")
    assert re.findall(r"(?m)^(\d+) ", bare.kubectl("rollout", "history", f"deployment/{NAME}")) == ["2", "3"]
    bare.kubectl("rollout", "undo", f"deployment/{NAME}", "--to-revision=2")
    bare.settle()
    bare.wait_says("2")


def test_a_paused_rollout_waits_until_it_is_resumed(bare: Bare) -> None:
    bare.kubectl("rollout", "pause", f"deployment/{NAME}")
    before = bare.pods()
    bare.kubectl("set", "env", f"deployment/{NAME}", "GREETING=hi")

    def seen() -> bool:
        found = bare.get()
        return bool(found["status"]["observedGeneration"] == found["metadata"]["generation"])

    wait_until(seen, timeout_s=SETTLES_S, what="the change is seen")
    assert bare.pods() == before
    assert "paused" in bare.kubectl("rollout", "restart", f"deployment/{NAME}", check=False)
    bare.kubectl("rollout", "resume", f"deployment/{NAME}")
    bare.settle()
    wait_until(lambda: bare.says().endswith(" hi"), timeout_s=SETTLES_S, what="the greeting")
    assert not bare.pods().keys() & before.keys()


def test_kubectl_restarts_scales_and_reads_logs(bare: Bare) -> None:
    before = bare.pods()
    bare.kubectl("rollout", "restart", f"deployment/{NAME}")
    bare.settle()
    assert not bare.pods().keys() & before.keys()
    bare.kubectl("scale", f"deployment/{NAME}", "--replicas=1", "--current-replicas=2")
    wait_until(lambda: len(bare.pods()) == 1, timeout_s=SETTLES_S, what="one Pod")
    wait_until(  # the Pod that goes may have answered the first time
        lambda: bare.says() and "asked for /" in bare.kubectl("logs", f"deployment/{NAME}", "--tail=1"),
        timeout_s=SETTLES_S,
        what="a request in the log of the Pod that stays",
    )
    assert "asked for /" in bare.kubectl("logs", "-l", f"app={NAME}", "--prefix")
    (name,) = bare.pods()
    assert "Started" in bare.kubectl("describe", "pod", name)


def test_kubectl_autoscales_a_bare_deployment(bare: Bare) -> None:
    bare.kubectl("set", "resources", f"deployment/{NAME}", "--requests=cpu=100m")
    bare.kubectl("autoscale", f"deployment/{NAME}", "--min=2", "--max=3", "--cpu-percent=60")
    wait_until(lambda: len(bare.pods()) == 2, timeout_s=SETTLES_S, what="the autoscaler's least")
    bare.settle()
    assert f"Deployment/{NAME}" in bare.kubectl("get", "hpa", NAME)
    bare.kubectl("delete", "hpa", NAME)


def test_the_official_client_watches_patches_scales_and_reads_logs(bare: Bare) -> None:
    with config.new_client_from_config(str(bare.platform.paths.kubeconfig)) as connected:
        apps, core = client.AppsV1Api(connected), client.CoreV1Api(connected)
        found = apps.list_namespaced_deployment(SPACE, label_selector=f"app={NAME}").items
        assert [item.metadata.name for item in found] == [NAME]
        body = {"spec": {"template": {"spec": {"containers": [{"name": NAME, "image": f"{IMAGE}:1"}]}}}}
        apps.patch_namespaced_deployment(NAME, SPACE, body)  # strategic: the other fields of the container stay
        stream = watch.Watch()
        for event in stream.stream(apps.list_namespaced_deployment, SPACE, timeout_seconds=SETTLES_S):
            status, generation = event["object"].status, event["object"].metadata.generation
            is_seen = status.observed_generation == generation  # before, the status is that of the last image
            if is_seen and status.updated_replicas == status.ready_replicas == status.replicas == 2:
                stream.stop()
        assert {pod.spec.containers[0].image for pod in core.list_namespaced_pod(SPACE).items} >= {f"{IMAGE}:1"}
        assert apps.patch_namespaced_deployment_scale(NAME, SPACE, {"spec": {"replicas": 1}}).spec.replicas == 1
        wait_until(lambda: len(bare.pods()) == 1, timeout_s=SETTLES_S, what="one Pod")
        bare.wait_says("1 hi")
        (name,) = bare.pods()
        assert "asked for /" in core.read_namespaced_pod_log(name, SPACE, tail_lines=1)
        scaled = [one.message for one in core.list_namespaced_event(SPACE).items if one.reason == "ScalingReplicaSet"]
        assert {message.split(" replica set ")[0] for message in scaled} == {"Scaled up", "Scaled down"}


async def test_kr8s_scales_patches_and_reads_logs(bare: Bare) -> None:
    api = await kr8s.asyncio.api(kubeconfig=str(bare.platform.paths.kubeconfig), namespace=SPACE)
    try:
        deployment = await Deployment.get(NAME, namespace=SPACE, api=api)
        await deployment.scale(2)
        await eventually(lambda: len(bare.pods()) == 2, timeout_s=SETTLES_S, what="two Pods")
        await deployment.patch([{"op": "add", "path": "/metadata/annotations/by", "value": "kr8s"}], type="json")
        assert bare.get()["metadata"]["annotations"]["by"] == "kr8s"
        await deployment.wait("condition=Available")
        bare.wait_answers()
        lines = [line for pod in await _pods(deployment) async for line in pod.logs(tail_lines=5)]
        assert any("asked for /" in line for line in lines), json.dumps(lines)
    finally:
        await api._session.aclose()  # kr8s offers no way of its own


async def _pods(deployment: Any) -> list[Any]:
    return [pod for pod in await deployment.pods() if "deletionTimestamp" not in pod.raw["metadata"]]
