"""An autoscaler on a bare Deployment: the whole runner as a process, the real API, and kubectl."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.kube.client import Kube
from slipway.kube.kinds import DEPLOYMENT, EVENT, HORIZONTAL_POD_AUTOSCALER, POD_DISRUPTION_BUDGET
from tests.onebox_runner.onebox import TOKEN, Onebox, pods, rolled_out, web
from tests.waiting import eventually

PROGRAM = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open(os.environ["LEVEL"]) as stream:
            body = ("# TYPE waiting gauge\\nwaiting " + stream.read() + "\\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer((os.environ["SLIPWAY_POD_IP"], 9000), Handler).serve_forever()
"""
BUSY = """
import time
while True:
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    time.sleep(0.2)
"""
"""A few percent of a processor, more than its request of 50m."""
AT_ONCE = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 10, "periodSeconds": 1}]}


def scraped(level: Path) -> dict[str, Any]:
    """The Deployment of the other tests, its Pods showing ``waiting`` as ``level`` has it."""
    found = web(1)
    del found["spec"]["replicas"]
    template = found["spec"]["template"]
    template["metadata"]["annotations"] = {"prometheus.io/scrape": "true", "prometheus.io/port": "9000"}
    container = template["spec"]["containers"][0]
    container |= {"command": ["python", "-c", PROGRAM], "env": [{"name": "LEVEL", "value": str(level)}]}
    return found


def autoscaler(**spec: Any) -> dict[str, Any]:
    target = {"type": "AverageValue", "averageValue": "2"}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1,
            "maxReplicas": 4,
            "metrics": [{"type": "Pods", "pods": {"metric": {"name": "waiting"}, "target": target}}],
            "behavior": {"scaleUp": AT_ONCE, "scaleDown": AT_ONCE},
            **spec,
        },
    }


async def test_replicas_follow_a_metric_of_the_pods_and_an_apply_leaves_them_alone(
    onebox: Onebox, kube: Kube, tmp_path: Path
) -> None:
    level = tmp_path / "level"
    level.write_text("1")
    await kube.apply(scraped(level), field_manager="me")
    await eventually(lambda: rolled_out(kube), timeout_s=30)
    await kube.apply(autoscaler(), field_manager="me")

    async def replicas() -> int:
        return int((await kube.get(DEPLOYMENT, "web", namespace="default"))["spec"]["replicas"])

    async def is_scaled_to(count: int) -> bool:
        return await replicas() == count

    async def status() -> dict[str, Any]:
        found = await kube.get(HORIZONTAL_POD_AUTOSCALER, "web", namespace="default")
        return found.get("status") or {}

    level.write_text("9")
    await eventually(lambda: is_scaled_to(4), timeout_s=45, what="4 replicas")
    await eventually(lambda: rolled_out(kube), timeout_s=30)
    await kube.apply(scraped(level), field_manager="me")
    assert await replicas() == 4

    async def is_limited() -> bool:
        conditions = {item["type"]: item for item in (await status()).get("conditions") or ()}
        limited = conditions.get("ScalingLimited", {})
        return (limited.get("status"), limited.get("reason")) == ("True", "TooManyReplicas")

    await eventually(is_limited, timeout_s=30, what="the condition ScalingLimited")
    shown = kubectl(onebox, "get", "hpa", "web")
    assert "Deployment/web" in shown
    assert "/2 " in shown
    described = kubectl(onebox, "describe", "hpa", "web")
    assert '"waiting" on pods' in described
    assert "ValidMetricFound" in described

    level.write_text("0")
    await eventually(lambda: is_scaled_to(1), timeout_s=45, what="1 replica")
    await eventually(lambda: rolled_out(kube), timeout_s=30)
    await kube.patch(DEPLOYMENT, "web", {"spec": {"replicas": 7}}, type="merge", namespace="default")
    await eventually(lambda: is_scaled_to(4), timeout_s=30, what="the most that the autoscaler allows")

    events = {(e["reason"], e["message"]) for e in (await kube.list(EVENT, namespace="default")).items}
    assert ("SuccessfulRescale", "New size: 1; reason: All metrics below target") in events
    assert any(reason == "SuccessfulRescale" and "pods metric waiting above target" in text for reason, text in events)
    assert "Traceback" not in "\n".join(onebox.log("runner"))


async def test_a_budget_counts_its_pods_and_refuses_the_eviction_too_many(onebox: Onebox, kube: Kube) -> None:
    await kube.apply(web(2), field_manager="me")
    meta, spec = (
        {"name": "web", "namespace": "default"},
        {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    )
    await kube.apply(
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": spec}, field_manager="me"
    )

    async def allows(count: int) -> bool:
        found = await kube.get(POD_DISRUPTION_BUDGET, "web", namespace="default")
        return (found.get("status") or {}).get("disruptionsAllowed") == count

    await eventually(lambda: rolled_out(kube), timeout_s=30)
    await eventually(lambda: allows(1), timeout_s=10, what="one Pod that may go")
    first, second = [pod["metadata"]["name"] for pod in await pods(kube)]
    assert "Success" in evict(onebox, first)
    assert "violate the pod's disruption budget" in evict(onebox, second)
    await eventually(lambda: rolled_out(kube), timeout_s=30, what="another Pod")
    await eventually(lambda: allows(1), timeout_s=10, what="one Pod that may go again")


def evict(onebox: Onebox, name: str) -> str:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
    path = onebox.paths.home / "eviction.json"
    path.write_text(json.dumps(body))
    words = ("create", "--raw", f"/api/v1/namespaces/default/pods/{name}/eviction", "-f", str(path))
    return kubectl(onebox, *words, check=False)


def kubectl(onebox: Onebox, *words: str, check: bool = True) -> str:
    """Over TLS: it sends no token without."""
    server = yaml.safe_load(onebox.paths.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    access = {"server": server.replace("http:", "https:"), "token": TOKEN}
    access["certificate-authority"] = str(onebox.paths.secrets / "api.crt")
    argv = ["kubectl", *(f"--{key}={value}" for key, value in access.items()), *words]
    environment = {**os.environ, "HOME": str(onebox.paths.home), "KUBECONFIG": "/dev/null"}
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=30, env=environment)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout + ("" if check else done.stderr)


@pytest.mark.timeout(150)
async def test_kubectl_autoscale_scales_a_bare_deployment_by_processor(onebox: Onebox, kube: Kube) -> None:
    deployment = web(1)
    del deployment["spec"]["replicas"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    del container["readinessProbe"]
    container |= {"command": ["python", "-c", BUSY], "resources": {"requests": {"cpu": "50m"}}}
    await kube.apply(deployment, field_manager="me")
    await eventually(lambda: rolled_out(kube), timeout_s=30)
    kubectl(onebox, "autoscale", "deployment", "web", "--min=1", "--max=2", "--cpu-percent=60")
    found = json.loads(kubectl(onebox, "get", "hpa.v2.autoscaling", "web", "-o", "json"))
    assert found["spec"]["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 60}

    async def is_scaled() -> bool:
        return bool((await kube.get(DEPLOYMENT, "web", namespace="default"))["spec"]["replicas"] == 2)

    await eventually(is_scaled, timeout_s=100, what="a second replica")

    async def metrics() -> Any:
        hpa = await kube.get(HORIZONTAL_POD_AUTOSCALER, "web", namespace="default")
        return hpa["status"].get("currentMetrics")

    (metric,) = await eventually(metrics, what="the status, which is written after the replicas")
    assert metric["resource"]["current"]["averageUtilization"] > 66
