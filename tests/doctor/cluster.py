"""A cluster in which everything is in order, as facts: tests break one thing of it each."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import yaml

from slipway import __version__
from slipway.crd.definition import definition
from slipway.doctor.checks.storage import probes, services
from slipway.doctor.facts import Facts, Unanswered
from slipway.doctor.order import CHECKS
from slipway.doctor.question import Question
from slipway.webhook.certificates import CERTIFICATE_DAYS, Certificates, renewed
from tests.contract.manifests import sdep
from tests.data import REPOSITORY

Object = dict[str, Any]
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TEAM = "team-a"
SERVED = frozenset(
    {
        "v1",
        "apps/v1",
        "networking.istio.io/v1",
        "networking.istio.io/v1alpha3",
        "security.istio.io/v1",
        "keda.sh/v1alpha1",
        "monitoring.coreos.com/v1",
        "metrics.k8s.io/v1beta1",
        "external.metrics.k8s.io/v1beta1",
    }
)


def make(kind: str, name: str, namespace: str = "", **fields: Any) -> Object:
    meta: Object = {"name": name, **fields.pop("metadata", {})}
    labels = fields.pop("labels", None)
    if namespace:
        meta["namespace"] = namespace
    if labels:
        meta["labels"] = labels
    return {"kind": kind, "metadata": meta, **fields}


def deployment(name: str, namespace: str, image: str, *, replicas: int = 1, **more: Any) -> Object:
    template = {"spec": {"containers": [{"name": "main", "image": image}]}}
    status = {"readyReplicas": replicas}
    return make("Deployment", name, namespace, spec={"replicas": replicas, "template": template}, status=status, **more)


def _controller(*arguments: str) -> Object:
    made = deployment("slipway-controller", "slipway-system", f"slipway/controller:{__version__}", replicas=2)
    made["spec"]["template"]["spec"]["containers"][0]["args"] = list(arguments)
    return made


def pod(name: str, namespace: str, labels: Mapping[str, str], *, ready: bool = True) -> Object:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return make("Pod", name, namespace, labels=dict(labels), status={"conditions": conditions})


def node(name: str, *, ready: bool = True, architecture: str = "amd64", **allocatable: str) -> Object:
    status = {
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "nodeInfo": {"architecture": architecture},
        "allocatable": {key.replace("_", "/"): value for key, value in allocatable.items()},
    }
    return make("Node", name, spec={}, status=status)


@cache
def certificates(ends: datetime) -> Certificates:
    """As the webhook makes them, an authority and a certificate, for as long as they are good until ``ends``."""
    return renewed(None, ["slipway-webhook.slipway-system.svc"], ends - timedelta(days=CERTIFICATE_DAYS))


GOOD = NOW + timedelta(days=60, hours=1)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def secret(**values: str) -> Object:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return make("Secret", "slipway-model-storage", "slipway-system", data=data)


def envoy_filters() -> list[Object]:
    """Those of the repository."""
    found = [yaml.safe_load(path.read_text()) for path in sorted((REPOSITORY / "istio").rglob("*.yaml"))]
    return [obj for obj in found if obj["kind"] == "EnvoyFilter"]


def objects() -> list[Object]:
    """Of a cluster that has everything."""
    hook = {
        "clientConfig": {
            "service": {"namespace": "slipway-system", "name": "slipway-webhook"},
            "caBundle": encoded(certificates(GOOD).authorities),
        },
        "rules": [{"resources": ["seldondeployments"]}],
        "failurePolicy": "Fail",
    }
    ingress = {"istio": "ingressgateway"}
    return [
        deployment("istiod", "istio-system", "docker.io/istio/pilot:1.30.3", labels={"app": "istiod"}),
        deployment("keda-operator", "keda", "kedacore/keda:2.20.2", labels={"app.kubernetes.io/name": "keda-operator"}),
        deployment(
            "operator", "monitoring", "prometheus-operator:v0.93.0", labels={"app": "kube-prometheus-stack-operator"}
        ),
        _controller("--keda"),
        node("one", nvidia_com="0"),
        node("two", **{"nvidia.com_gpu": "2"}),
        make("Service", "kube-dns", "kube-system", labels={"k8s-app": "kube-dns"}),
        pod("coredns-1", "kube-system", {"k8s-app": "kube-dns"}),
        pod("coredns-2", "kube-system", {"k8s-app": "kube-dns"}),
        {**deepcopy(definition()), "status": {"conditions": [{"type": "Established", "status": "True"}]}},
        make(
            "Lease",
            "slipway-controller",
            "slipway-system",
            spec={"holderIdentity": "slipway-controller-x", "renewTime": _time(NOW), "leaseDurationSeconds": 15},
        ),
        make("ValidatingWebhookConfiguration", "slipway", webhooks=[hook]),
        make(
            "Secret",
            "slipway-webhook-certificate",
            "slipway-system",
            data={"tls.crt": encoded(certificates(GOOD).certificate)},
        ),
        make(
            "EndpointSlice",
            "slipway-webhook-1",
            "slipway-system",
            labels={"kubernetes.io/service-name": "slipway-webhook"},
            endpoints=[{"conditions": {"ready": True}}],
        ),
        make(
            "EndpointSlice",
            "mlflow-1",
            "slipway-system",
            labels={"kubernetes.io/service-name": "mlflow"},
            endpoints=[{"conditions": {"ready": True}}, {"conditions": {"ready": True}}],
        ),
        make(
            "StorageClass",
            "standard",
            metadata={"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        ),
        secret(
            MLFLOW_TRACKING_URI="http://mlflow.slipway-system.svc:5000",
            MLFLOW_TRACKING_USERNAME="reader",
            MLFLOW_TRACKING_PASSWORD="p",
            AWS_ACCESS_KEY_ID="k",
            AWS_SECRET_ACCESS_KEY="s",
            AWS_DEFAULT_REGION="us-east-1",
            AWS_ENDPOINT_URL="https://s3.example.com",
        ),
        make("Gateway", "seldon-gateway", "istio-system", spec={"selector": ingress}),
        pod("ingress-1", "istio-system", ingress),
        pod("ingress-2", "istio-system", ingress),
        make(
            "Service",
            "istio-ingressgateway",
            "istio-system",
            labels=ingress,
            spec={"type": "LoadBalancer", "selector": ingress},
            status={"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
        ),
        *envoy_filters(),
        make("Namespace", TEAM, labels={"istio-injection": "enabled"}),
        make("PeerAuthentication", "default", "istio-system", spec={"mtls": {"mode": "STRICT"}}),
        make("NodeMetrics", "one"),
        make(
            "HorizontalPodAutoscaler",
            "yolo",
            TEAM,
            spec={"metrics": [{"type": "Resource"}, {"type": "External"}]},
        ),
        {**sdep(name="yolo", metadata={"namespace": TEAM}), "status": {"state": "Available"}},
    ]


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@cache
def _whole() -> str:
    return json.dumps(objects())


@dataclass
class Cluster:
    """What tests change. ``silent``: plurals that nobody may list; ``denied``: permissions as they print."""

    version: str = "v1.32.4"
    served: set[str] = field(default_factory=lambda: set(SERVED))
    objects: list[Object] = field(default_factory=lambda: json.loads(_whole()))
    silent: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    statuses: dict[str, int] = field(default_factory=lambda: {"S3": 403})
    is_one_machine: bool = False

    def drop(self, kind: str, name: str = "") -> None:
        self.objects = [
            obj for obj in self.objects if not (obj["kind"] == kind and name in ("", obj["metadata"]["name"]))
        ]

    def get(self, kind: str, name: str = "") -> Object:
        return next(obj for obj in self.objects if obj["kind"] == kind and name in ("", obj["metadata"]["name"]))

    def facts(self) -> Facts:
        questions = {question for check in CHECKS for question in check.questions}
        permissions = {permission for check in CHECKS for permission in check.permissions(TEAM)}
        seen = Facts(
            TEAM,
            self.version,
            self.is_one_machine,
            NOW,
            frozenset(self.served),
            {question: self._answer(question) for question in questions},
            {permission: str(permission) not in self.denied for permission in permissions},
        )
        asked, slices = ((), ()) if "secrets" in self.silent else (probes(seen), services(seen))
        known = {probe: self.statuses[probe.name] for probe in asked if probe.name in self.statuses}
        missing = {probe: Unanswered("refused") for probe in asked if probe.name not in self.statuses}
        answers = {**seen.answers, **{question: self._answer(question) for question in slices}}
        return replace(seen, answers=answers, statuses={**known, **missing})

    def _answer(self, question: Question) -> tuple[Object, ...] | Unanswered:
        """As the API answers it."""
        if question.kind.plural in self.silent:
            return Unanswered(f"you may not list {question.kind}")
        return tuple(obj for obj in self.objects if _is_asked(obj, question))


def _is_asked(obj: Object, question: Question) -> bool:
    meta = obj["metadata"]
    place = question.place(TEAM)
    if obj["kind"] != question.kind.kind or (place and meta.get("namespace", place) != place):
        return False
    key, _, value = (question.selector or "").partition("=")
    labels = meta.get("labels") or {}
    has_label = not key or (labels.get(key) == value if value else key in labels)
    return has_label and question.name in (None, meta["name"])


Break = Callable[[Cluster], object]
