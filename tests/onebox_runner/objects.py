"""Small Kubernetes objects for the runner's tests."""

from __future__ import annotations

from typing import Any

from slipway.onebox.runner.moments import time_text

NOW = 1_800_000_000.0


def pod_object(name: str = "p", *, uid: str = "", **changes: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": "test/app:1"}], **changes.pop("spec", {})}
    meta = {"name": name, "namespace": "default", "uid": uid or f"uid-{name}", **changes.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, **changes}


def running_pod(
    name: str, owner: dict[str, Any], *, ready: bool, at: float = NOW, going: bool = False
) -> dict[str, Any]:
    reference = {
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": time_text(at)}
    pod = pod_object(
        name, metadata={"ownerReferences": [reference]}, status={"phase": "Running", "conditions": [condition]}
    )
    if going:
        pod["metadata"]["deletionTimestamp"] = time_text(at)
    return pod


def deployment_object(replicas: int = 2, *, image: str = "test/app:1", **spec: Any) -> dict[str, Any]:
    labels = {"app": "d"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "default", "uid": "uid-d", "generation": 1},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec},
    }
