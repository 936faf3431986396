"""A ScaledObject's triggers → the HorizontalPodAutoscaler that scales between one replica and the most, as KEDA makes it.

Names, labels and targets are KEDA's own (pkg/scaling and docs/scalers/cpu); the runner's autoscaler carries it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.contract.keda import HERE, MAX_REPLICAS

Object = Mapping[str, Any]


def autoscaler_of(scaled_object: Object) -> dict[str, Any] | None:
    """None where no trigger is of a type that one machine measures."""
    spec, meta = scaled_object["spec"], scaled_object["metadata"]
    metrics = list(_metrics(spec))
    if not metrics:
        return None
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": autoscaler_name(scaled_object),
            "namespace": meta["namespace"],
            "labels": {"app.kubernetes.io/managed-by": "keda-operator", "scaledobject.keda.sh/name": meta["name"]},
            "ownerReferences": [
                {
                    "apiVersion": "keda.sh/v1alpha1",
                    "kind": "ScaledObject",
                    "name": meta["name"],
                    "uid": meta["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": spec["scaleTargetRef"]["name"]},
            "minReplicas": max(1, spec.get("minReplicaCount") or 0),
            "maxReplicas": spec.get("maxReplicaCount") or MAX_REPLICAS,
            "metrics": metrics,
        },
    }


def autoscaler_name(scaled_object: Object) -> str:
    return f"keda-hpa-{scaled_object['metadata']['name']}"


def is_of(have: Object, scaled_object: Object) -> bool:
    """Whether an autoscaler was made of this ScaledObject, and not by somebody else under the same name."""
    owners = have["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") == scaled_object["metadata"]["uid"] for owner in owners)


def _metrics(spec: Object) -> Iterator[dict[str, Any]]:
    for trigger in spec.get("triggers") or ():
        if trigger.get("type") in HERE:
            metadata = trigger.get("metadata") or {}
            value = str(metadata.get("value") or "")
            kind = trigger.get("metricType") or metadata.get("type") or "Utilization"
            target: dict[str, Any] = {"type": "AverageValue", "averageValue": value}
            if kind == "Utilization":
                target = {"type": kind, "averageUtilization": int(value) if value.isdigit() else value}
            source = {"name": trigger["type"], "target": target}
            if container := metadata.get("containerName"):
                yield {"type": "ContainerResource", "containerResource": {**source, "container": container}}
            else:
                yield {"type": "Resource", "resource": source}


def differs(have: Object, wanted: Object) -> bool:
    """Whether the fields that are ours are others; defaults that the API has filled in do not count."""
    spec = have.get("spec") or {}
    return any(spec.get(key) != value for key, value in wanted["spec"].items())
