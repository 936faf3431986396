"""Whether the namespace is there, and what it lets in: quotas, limits of containers, Pod security."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from slipway.contract.quantity import parse_quantity
from slipway.doctor.check import Check, Said
from slipway.doctor.checks.mesh import NAMESPACES, NO_NAMESPACE, gets_sidecar, labels_of
from slipway.doctor.checks.pod_security import refused
from slipway.doctor.checks.sample import containers_of, sample_pod
from slipway.doctor.checks.workloads import place_of
from slipway.doctor.facts import Facts, NotKnown, Object
from slipway.doctor.question import OWN, Question
from slipway.kube.kinds import POD, Kind

RESOURCE_QUOTA = Kind("", "v1", "resourcequotas", "ResourceQuota")
LIMIT_RANGE = Kind("", "v1", "limitranges", "LimitRange")
QUOTAS = Question(RESOURCE_QUOTA, OWN)
RANGES = Question(LIMIT_RANGE, OWN)
CNI = Question(POD, selector="k8s-app=istio-cni-node")
"""Of Istio's chart `cni`; without it each Pod with a sidecar has an init container with NET_ADMIN
(https://istio.io/latest/docs/setup/additional-setup/pod-security-admission/)."""
ENFORCE, OPEN = "pod-security.kubernetes.io/enforce", "privileged"
COMPUTE = {
    "cpu": ("requests", "cpu"),
    "memory": ("requests", "memory"),
    "requests.cpu": ("requests", "cpu"),
    "requests.memory": ("requests", "memory"),
    "limits.cpu": ("limits", "cpu"),
    "limits.memory": ("limits", "memory"),
}
"""Key of a quota → where a container says it (https://kubernetes.io/docs/concepts/policy/resource-quotas/)."""
DEFAULTS = {"requests": "defaultRequest", "limits": "default"}
"""Part of a container's resources → the field of a LimitRange that fills it in. A default limit fills the request, too."""


def is_there(facts: Facts) -> Iterable[Said]:
    if labels_of(facts) is not None:
        yield "ok", facts.namespace, "is there"
        return
    repair = f"slipway tenant add {facts.namespace}, or say another one with -n: kubectl get namespaces"
    yield "fail", facts.namespace, NO_NAMESPACE, repair


def quotas(facts: Facts) -> Iterable[Said]:
    found = facts.objects(QUOTAS)
    ranges = facts.objects(RANGES)
    for quota in found:
        yield from _quota(quota, ranges)
    if not found and _is_missing(facts):
        yield "n/a", facts.namespace, NO_NAMESPACE
    elif not found:
        yield "ok", facts.namespace, "no quota: only the nodes bound what its Pods take"


def _is_missing(facts: Facts) -> bool:
    """Whoever may not list namespaces, and could ask for quotas in this one, has a role there: it exists."""
    try:
        return labels_of(facts) is None
    except NotKnown:
        return False


def _quota(quota: Object, ranges: tuple[Object, ...]) -> Iterator[Said]:
    where = place_of(quota)
    status = quota.get("status") or {}
    hard = status.get("hard") or (quota.get("spec") or {}).get("hard") or {}
    used = status.get("used") or {}
    is_fine = True
    for key in sorted(COMPUTE.keys() & hard.keys()):
        part, name = COMPUTE[key]
        silent = [item["name"] for item in containers_of(sample_pod()) if not _said(item, part, name)]
        if silent and not _filled(ranges, part, name):
            is_fine = False
            text = f"{key} is bounded, so Pods are refused whose containers do not say it, and nothing fills it in"
            yield "warn", where, text, f"say it in every component, or add a LimitRange with {DEFAULTS[part]}.{name}"
        left = parse_quantity(hard[key]) - parse_quantity(used.get(key, 0))
        least = _sum(part, name)
        if left < least:
            is_fine = False
            text = f"{key}: {left.normalize():f} of {hard[key]} are left, an executor alone takes {least.normalize():f}"
            yield (
                "fail",
                where,
                text,
                f"kubectl -n {quota['metadata']['namespace']} edit resourcequota {quota['metadata']['name']}",
            )
    if hard.get("pods") is not None and parse_quantity(used.get("pods", 0)) >= parse_quantity(hard["pods"]):
        is_fine = False
        yield "fail", where, f"pods: all {hard['pods']} are taken", "delete what is not needed, or raise it"
    if is_fine:
        yield "ok", where, "has room for a predictor, as far as its own Pods say what they take"


def _said(container: Object, part: str, name: str) -> Any:
    resources = container.get("resources") or {}
    return (resources.get(part) or {}).get(name) or (resources.get("limits") or {}).get(name)


def _filled(ranges: tuple[Object, ...], part: str, name: str) -> bool:
    fields = (DEFAULTS[part], "default")
    return any((item.get(field) or {}).get(name) for item in _of_containers(ranges) for field in fields)


def _of_containers(ranges: tuple[Object, ...]) -> Iterator[Object]:
    for obj in ranges:
        yield from (item for item in obj["spec"]["limits"] if item.get("type") == "Container")


def _sum(part: str, name: str) -> Decimal:
    """Of the containers that run side by side; the initializer has ended by then."""
    values = [_said(item, part, name) for item in sample_pod()["containers"]]
    return sum((parse_quantity(value) for value in values if value), Decimal())


def limits(facts: Facts) -> Iterable[Said]:
    found = facts.objects(RANGES)
    is_fine = True
    for obj in found:
        for text in _refusals(obj):
            is_fine = False
            edit = f"kubectl -n {obj['metadata']['namespace']} edit limitrange {obj['metadata']['name']}"
            yield "fail", place_of(obj), text, edit
    if found and is_fine:
        yield "ok", ", ".join(map(place_of, found)), "lets executors and storage initializers in"


def _refusals(obj: Object) -> Iterator[str]:
    for item in _of_containers((obj,)):
        for container in containers_of(sample_pod()):
            for name in ("cpu", "memory"):
                resources = container.get("resources") or {}
                top, bottom = (item.get("max") or {}).get(name), (item.get("min") or {}).get(name)
                limit, request = ((resources.get(part) or {}).get(name) for part in ("limits", "requests"))
                if top and limit and parse_quantity(limit) > parse_quantity(top):
                    yield f"max.{name} is {top}, {container['name']} has a limit of {limit}: its Pod is refused"
                if bottom and request and parse_quantity(request) < parse_quantity(bottom):
                    yield f"min.{name} is {bottom}, {container['name']} asks for {request}: its Pod is refused"


def security(facts: Facts) -> Iterable[Said]:
    labels = labels_of(facts)
    if labels is None:
        yield "n/a", facts.namespace, NO_NAMESPACE
        return
    level, where = labels.get(ENFORCE, OPEN), facts.namespace
    broken = refused(sample_pod()) if level == "restricted" else []
    is_fine = True
    if level != OPEN and gets_sidecar(labels) and not facts.objects(CNI):
        is_fine = False
        text = f"Pod security is {level}, which refuses the NET_ADMIN that sidecars need without Istio's CNI plug-in"
        yield "fail", where, text, f"install Istio's chart cni, or kubectl label namespace {where} {ENFORCE}-"
    if broken:
        is_fine = False
        text = f"Pod security is restricted, and refuses a predictor's Pods: {'; '.join(broken)}"
        yield "fail", where, text, f"kubectl label --overwrite namespace {where} {ENFORCE}=baseline"
    if is_fine:
        yield "ok", where, f"Pod security is {level}, which lets a predictor's Pods in"


CHECKS = (
    Check("namespace", is_there, (NAMESPACES,)),
    Check("quota", quotas, (QUOTAS, RANGES, NAMESPACES), instead="the runner has no quotas"),
    Check("limits", limits, (RANGES,), instead="the runner knows no LimitRange"),
    Check("pod security", security, (NAMESPACES, CNI), instead="Pods are processes of whoever started the platform"),
)
