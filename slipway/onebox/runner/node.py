"""This machine as a Node, so that ``kubectl get nodes`` and ``kubectl describe node`` have something to show."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

from slipway import __version__
from slipway.kube.client import Kube
from slipway.kube.errors import AlreadyExists
from slipway.kube.kinds import NODE
from slipway.onebox.runner.machine import memory_bytes
from slipway.onebox.runner.moments import time_text
from slipway.onebox.runner.references import HOST_IP, NODE_NAME
from slipway.onebox.runner.scheduling import MAX_PODS

MANAGER = "slipway-runner"


def render_node() -> dict[str, Any]:
    labels = {
        "kubernetes.io/hostname": NODE_NAME,
        "kubernetes.io/os": sys.platform,
        "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "node-role.kubernetes.io/control-plane": "",
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME, "labels": labels}, "spec": {}}


def render_node_status(*, is_ready: bool, now: float) -> dict[str, Any]:
    size = {"cpu": str(os.cpu_count() or 1), "memory": f"{memory_bytes() // 1024}Ki", "pods": str(MAX_PODS)}
    ready = ("True", "RunnerReady", "the runner starts and watches Pods")
    stopped = ("False", "RunnerStopped", "the runner was stopped")
    value, reason, message = ready if is_ready else stopped
    condition = {"type": "Ready", "status": value, "reason": reason, "message": message}
    return {
        "capacity": size,
        "allocatable": size,
        "addresses": [{"type": "InternalIP", "address": HOST_IP}, {"type": "Hostname", "address": NODE_NAME}],
        "conditions": [{**condition, "lastHeartbeatTime": time_text(now), "lastTransitionTime": time_text(now)}],
        "nodeInfo": {
            "architecture": platform.machine(),
            "bootID": "",
            "containerRuntimeVersion": f"process://{__version__}",
            "kernelVersion": platform.release(),
            "kubeProxyVersion": "",
            "kubeletVersion": f"slipway-{__version__}",
            "machineID": "",
            "operatingSystem": sys.platform,
            "osImage": platform.platform(),
            "systemUUID": "",
        },
    }


async def register_node(kube: Kube, *, is_ready: bool, now: float) -> None:
    """Raises KubeError."""
    try:
        await kube.create(render_node(), field_manager=MANAGER)
    except AlreadyExists:
        await kube.patch(NODE, NODE_NAME, {"metadata": render_node()["metadata"]}, type="merge")
    status = {"status": render_node_status(is_ready=is_ready, now=now)}
    await kube.patch(NODE, NODE_NAME, status, type="merge", subresource="status")
