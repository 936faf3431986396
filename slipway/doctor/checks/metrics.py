"""What autoscalers read: the metrics API, for HPAs on CPU and memory."""

from __future__ import annotations

from collections.abc import Iterable

from slipway.doctor.check import Check, Said
from slipway.doctor.facts import Facts, Object
from slipway.doctor.question import Question
from slipway.kube.kinds import HORIZONTAL_POD_AUTOSCALER, Kind

API = "metrics.k8s.io/v1beta1"
CUSTOM = ("custom.metrics.k8s.io/v1beta1", "custom.metrics.k8s.io/v1beta2")
EXTERNAL = ("external.metrics.k8s.io/v1beta1",)
NODE_METRICS = Kind("metrics.k8s.io", "v1beta1", "nodes", "NodeMetrics", namespaced=False)
NODES = Question(NODE_METRICS)
AUTOSCALERS = Question(HORIZONTAL_POD_AUTOSCALER)
INSTALL = "install metrics-server (minikube: `minikube addons enable metrics-server`): docs/kubernetes.md"
INSTALL_ADAPTER = "install prometheus-adapter with helm-values/prometheus-adapter.yaml: docs/kubernetes.md"
INSTALL_KEDA = "install KEDA with helm-values/keda.yaml: docs/kubernetes.md"
OTHERS = (({"Pods", "Object"}, CUSTOM, INSTALL_ADAPTER), ({"External"}, EXTERNAL, INSTALL_KEDA))
"""Types of metrics, who serves one of these, and what makes that so: KEDA serves external metrics alone.

https://keda.sh/docs/2.20/operate/metrics-server/
"""


def resources(facts: Facts) -> Iterable[Said]:
    users = _users(facts, {"Resource", "ContainerResource"})
    if facts.serves(API):
        known = len(facts.objects(NODES))
        if known:
            yield "ok", "", f"{API} knows {known} node{'' if known == 1 else 's'}"
        else:
            yield "warn", "", f"{API} is served, but knows no node yet", "kubectl top nodes"
    elif users:
        yield "fail", ", ".join(users), f"{API} is not served, so these autoscalers cannot decide", INSTALL
    else:
        yield "warn", "", f"{API} is not served: hpaSpec on CPU or memory would have no effect", INSTALL


def others(facts: Facts) -> Iterable[Said]:
    for kinds, apis, repair in OTHERS:
        users = _users(facts, kinds)
        if not users:
            continue
        if any(map(facts.serves, apis)):
            yield "ok", ", ".join(users), f"{' or '.join(apis)} is served"
        else:
            text = f"metrics of type {' or '.join(sorted(kinds))} need {' or '.join(apis)}, which nothing serves"
            yield "fail", ", ".join(users), text, repair


def _users(facts: Facts, types: set[str]) -> list[str]:
    return sorted(_name(obj) for obj in facts.objects(AUTOSCALERS) if types & set(_types(obj)))


def _types(autoscaler: Object) -> Iterable[str]:
    return (str(metric.get("type")) for metric in autoscaler["spec"].get("metrics") or ())


def _name(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


INSTEAD = "the runner reads Pods' own figures"
CHECKS = (
    Check("metrics", resources, (NODES, AUTOSCALERS), instead=INSTEAD),
    Check("metrics", others, (AUTOSCALERS,), instead=INSTEAD),
)
