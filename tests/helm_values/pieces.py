"""The pieces of Kubernetes inside a chart's values → objects that Kubernetes' own schema can judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.manifests.schemas import KUBERNETES, complain_of_kubernetes

Object = dict[str, Any]
CONTAINER = {"name": "piece", "image": "piece:1"}


def _pod(spec: Mapping[str, Any], container: Mapping[str, Any] | None = None) -> Object:
    whole = {"containers": [{**CONTAINER, **(container or {})}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "piece"}, "spec": whole}


def _network_policy(direction: str, rules: Any) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "piece"},
        "spec": {"podSelector": {}, direction: rules},
    }


def _claim(template: Mapping[str, Any]) -> Object:
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "piece"}, **template}


def _listed(value: Any) -> Any:
    return list(value.values()) if isinstance(value, Mapping) else value


PIECES: Mapping[str, Callable[[Any], Object]] = {
    "resources": lambda value: _pod({}, {"resources": value}),
    "containerSecurityContext": lambda value: _pod({}, {"securityContext": value}),
    "container_security_context": lambda value: _pod({}, {"securityContext": value}),
    "pod_security_context": lambda value: _pod({"securityContext": value}),
    "seccompProfile": lambda value: _pod({"securityContext": {"seccompProfile": value}}),
    "extraVolumes": lambda value: _pod({"volumes": _listed(value)}),
    "extraVolumeMounts": lambda value: _pod({}, {"volumeMounts": _listed(value)}),
    "tolerations": lambda value: _pod({"tolerations": value}),
    "node_selector": lambda value: _pod({"nodeSelector": value}),
    "topologySpreadConstraints": lambda value: _pod({"topologySpreadConstraints": value}),
    "ingress": lambda value: _network_policy("ingress", value),
    "egress": lambda value: _network_policy("egress", value),
    "extraIngress": lambda value: _network_policy("ingress", value),
    "volumeClaimTemplate": _claim,
}
"""Key in a values file → the object that has its value where Kubernetes has it."""
OF_CHARTS = {"operator", "metricServer", "webhooks", "overrides"}
"""What stands below a `resources` that is no container's: KEDA's of each component, a rule's of prometheus-adapter."""


def complaints(values: Any, path: str = "") -> Iterator[str]:
    """What Kubernetes' schemas have against the pieces in ``values``."""
    if isinstance(values, list):
        for index, item in enumerate(values):
            yield from complaints(item, f"{path}[{index}]")
    if not isinstance(values, dict):
        return
    for key, value in values.items():
        below = f"{path}.{key}" if path else str(key)
        if key in PIECES and value and not _is_of_the_chart(key, value):
            yield from _judge(PIECES[key](value), below)
        else:
            yield from complaints(value, below)


def _judge(obj: Object, path: str) -> Iterator[str]:
    for version in KUBERNETES:
        if said := complain_of_kubernetes(obj, version):
            yield f"{path}: Kubernetes {version}: {said}"


def _is_of_the_chart(key: str, value: Any) -> bool:
    """Names that a chart uses for something else."""
    if key == "resources":
        return bool(set(value) & OF_CHARTS) or any(str(name).startswith("cpu") for name in value)
    return key == "ingress" and isinstance(value, dict)
