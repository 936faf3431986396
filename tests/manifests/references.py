"""What objects say of each other: ports, accounts, roles, ConfigMaps and Secrets, what is scaled. Pure: objects → complaints."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from tests.manifests.cluster import templates
from tests.manifests.flows import selects

Object = dict[str, Any]
Key = tuple[str, str, str]
"""(kind, namespace, name); what has no namespace has an empty one."""
SETTINGS = {
    "configMapRef": ("ConfigMap", "name"),
    "configMapKeyRef": ("ConfigMap", "name"),
    "configMap": ("ConfigMap", "name"),
    "secretRef": ("Secret", "name"),
    "secretKeyRef": ("Secret", "name"),
    "secret": ("Secret", "secretName"),
}
"""Field of a Pod → what it reads, and the field with its name (a projected volume says ``name`` there, too)."""
TARGETS = ("scaleTargetRef", "targetRef")
WHOLE = frozenset({"ClusterRole"})
"""Kinds without a namespace that others name."""


def key_of(item: Object) -> Key:
    return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]


def keys(objects: Iterable[Object]) -> frozenset[Key]:
    return frozenset(map(key_of, objects))


def ports_missing(objects: list[Object]) -> list[str]:
    """Services whose ``targetPort``, and monitors and webhooks whose port, nobody whom they mean has."""
    services = [item for item in objects if item["kind"] == "Service"]
    found = [said for item in services for said in _target_ports(item, objects)]
    for item in objects:
        if item["kind"] == "ServiceMonitor":
            found += _monitored(item, item["spec"]["endpoints"], _service_ports(item, services))
        if item["kind"] == "PodMonitor" and (pods := list(_pods(item["spec"]["selector"], objects))):
            named = {port for template in pods for port in _ports(template)}
            found += _monitored(item, item["spec"]["podMetricsEndpoints"], named)
        for hook in item.get("webhooks") or ():
            found += _asked(item, hook["clientConfig"].get("service"), services)
    return found


def selectors_apart(objects: list[Object]) -> list[str]:
    """Deployments and the like whose ``selector`` is not about their own Pods: an API server refuses them."""
    return [
        f"{_shown(item)}: spec.selector does not match the labels of spec.template"
        for item, template in templates(objects)
        if item["spec"].get("selector")
        and not selects(item["spec"]["selector"], template["metadata"].get("labels") or {})
    ]


def _target_ports(service: Object, objects: list[Object]) -> Iterator[str]:
    """A number that no container declares would work, too; that it is declared is our own rule."""
    namespace = service["metadata"].get("namespace", "")
    if "selector" not in service["spec"]:
        return
    there = [item for item in objects if item["metadata"].get("namespace", "") == namespace]
    pods = list(_pods({"matchLabels": service["spec"]["selector"]}, there))
    for item in service["spec"]["ports"]:
        wanted = item.get("targetPort", item["port"])
        if pods and not all(wanted in _ports(template) for template in pods):
            yield f"{_shown(service)}: no container of its Pods has the port {wanted}"


def _service_ports(monitor: Object, services: list[Object]) -> set[str | int]:
    meant = [item for item in services if selects(monitor["spec"]["selector"], item["metadata"].get("labels") or {})]
    return {port["name"] for item in meant for port in item["spec"]["ports"]}


def _monitored(monitor: Object, endpoints: Iterable[Object], there: Collection[str | int]) -> Iterator[str]:
    for item in endpoints:
        if "port" in item and item["port"] not in there:
            yield f"{_shown(monitor)}: nothing that it selects has the port {item['port']}"


def _asked(item: Object, wanted: Object | None, services: list[Object]) -> Iterator[str]:
    if wanted is None:
        return
    meant = [one for one in services if key_of(one) == ("Service", wanted["namespace"], wanted["name"])]
    if not any(port["port"] == wanted.get("port", 443) for one in meant for port in one["spec"]["ports"]):
        yield f"{_shown(item)}: no Service {wanted['namespace']}/{wanted['name']} has the port {wanted.get('port', 443)}"


def _pods(selector: Object, objects: list[Object]) -> Iterator[Object]:
    for _, template in templates(objects):
        if selects(selector, template["metadata"].get("labels") or {}):
            yield template


def _ports(template: Object) -> set[str | int]:
    containers = template["spec"]["containers"]
    ports = [port for container in containers for port in container.get("ports") or ()]
    return {port["containerPort"] for port in ports} | {port["name"] for port in ports if "name" in port}


def accounts_missing(objects: list[Object]) -> list[str]:
    """ServiceAccounts of bindings and Pods, and roles of bindings, that nothing makes."""
    there, found = keys(objects), []
    for item in objects:
        namespace = item["metadata"].get("namespace", "")
        for subject in item.get("subjects") or ():
            if subject["kind"] == "ServiceAccount":
                wanted = ("ServiceAccount", subject.get("namespace", namespace), subject["name"])
                found += _complain(item, wanted, there)
        if item["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            role = item["roleRef"]
            found += _complain(item, (role["kind"], "" if role["kind"] in WHOLE else namespace, role["name"]), there)
    for item, template in templates(objects):
        if name := template["spec"].get("serviceAccountName"):
            found += _complain(item, ("ServiceAccount", item["metadata"].get("namespace", ""), name), there)
    return found


def settings_missing(objects: list[Object], others: Collection[Key]) -> list[str]:
    """ConfigMaps and Secrets that Pods read, optional ones too, that nothing makes: a misspelt optional one is silence."""
    there = keys(objects) | set(others)
    return [
        said
        for item, template in templates(objects)
        for kind, name in sorted(set(_read(template["spec"])))
        for said in _complain(item, (kind, item["metadata"].get("namespace", ""), name), there)
    ]


def _read(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for item in value:
            yield from _read(item)
    if isinstance(value, dict):
        for field, (kind, named) in SETTINGS.items():
            ref = value.get(field)
            if isinstance(ref, dict):
                yield kind, ref[named] if named in ref else ref["name"]
        for item in value.values():
            yield from _read(item)


def targets_missing(objects: list[Object]) -> list[str]:
    """What an autoscaler scales, or only measures, and nothing makes."""
    there = keys(objects)
    return [
        said
        for item in objects
        if isinstance(spec := item.get("spec"), dict)
        for field in TARGETS
        if isinstance(ref := spec.get(field), dict)
        for said in _complain(item, (ref.get("kind", "Deployment"), item["metadata"]["namespace"], ref["name"]), there)
    ]


def _complain(item: Object, wanted: Key, there: Collection[Key]) -> list[str]:
    kind, namespace, name = wanted
    return [] if wanted in there else [f"{_shown(item)}: nothing makes {kind} {namespace}/{name}"]


def _shown(item: Object) -> str:
    return f"{item['kind']} {item['metadata']['name']}"
