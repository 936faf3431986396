"""What must hold in each object, whatever its schema says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

Object = dict[str, Any]
MAX_NAME, MAX_PORT_NAME = 63, 15
LONG_NAMES = frozenset({"CustomResourceDefinition", "ValidatingWebhookConfiguration"})
"""Kinds whose names are a host's: plural and group, at most 253 characters."""
TEMPLATES = {
    "Pod": ("spec",),
    "Deployment": ("spec", "template", "spec"),
    "StatefulSet": ("spec", "template", "spec"),
    "DaemonSet": ("spec", "template", "spec"),
    "Job": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
LASTING = frozenset({"Deployment", "StatefulSet", "DaemonSet"})
USER = 8888
TAG = re.compile(r"(@sha256:[0-9a-f]{64}|(?<!@sha256):(?!latest$)[\w][\w.-]{0,127})$")
"""How an image reference ends (distribution/reference); the colon of a registry's port has a slash behind it."""


def traffic(obj: Object) -> Iterator[str]:
    """Live predictors' percentages are 100 together; one alone may leave it out; shadows are not counted."""
    if obj["kind"] != "SeldonDeployment":
        return
    live = [item for item in obj["spec"]["predictors"] if not item.get("shadow")]
    if len(live) == 1 and "traffic" not in live[0]:
        return
    total = sum(item.get("traffic", 0) for item in live)
    if total != 100:
        yield f"traffic of the live predictors is {total}, not 100"


def images(obj: Object) -> Iterator[str]:
    """Each container's image has a tag that is not ``latest``, or a digest. A definition only says what containers are."""
    if obj["kind"] == "CustomResourceDefinition":
        return
    for path, container in containers(obj):
        image = container.get("image", "")
        if not TAG.search(image):
            yield f"{path}: image {image!r} has no tag, or latest"


def names(obj: Object) -> Iterator[str]:
    """Names are labels of at most 63 characters, those of ports 15 (Kubernetes, "Object Names and IDs")."""
    name = obj["metadata"]["name"]
    if len(name) > MAX_NAME and obj["kind"] not in LONG_NAMES:
        yield f"the name has {len(name)} characters, more than {MAX_NAME}"
    for path, container in containers(obj):
        if len(container.get("name", "")) > MAX_NAME:
            yield f"{path}: the name has {len(container['name'])} characters, more than {MAX_NAME}"
        for port in container.get("ports") or ():
            if len(port.get("name", "")) > MAX_PORT_NAME:
                yield f"{path}: the port {port['name']} has more than {MAX_PORT_NAME} characters"


def pods(obj: Object) -> Iterator[str]:
    """What every Pod of our own keeps to: an ordinary user, a root that nobody writes, bounds, probes."""
    spec: Any = obj
    for key in TEMPLATES.get(obj["kind"], ("",)):
        spec = spec.get(key) or {}
    for group in ("initContainers", "containers"):
        for container in spec.get(group) or ():
            where = f"{group}[{container['name']}]"
            security = {**(spec.get("securityContext") or {}), **(container.get("securityContext") or {})}
            yield from (f"{where}: {item}" for item in _security(security))
            yield from (f"{where}: {item}" for item in _bounds(container.get("resources") or {}))
            if group == "containers" and obj["kind"] in LASTING:
                yield from (
                    f"{where}: no {item}" for item in ("readinessProbe", "livenessProbe") if item not in container
                )


def _security(context: Mapping[str, Any]) -> Iterator[str]:
    wanted = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for key, value in wanted.items():
        if context.get(key) != value:
            yield f"securityContext.{key} is {context.get(key)!r}, not {value!r}"


def _bounds(resources: Mapping[str, Any]) -> Iterator[str]:
    for group, key in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
        if key not in (resources.get(group) or {}):
            yield f"resources.{group}.{key} is missing"


def containers(value: Any, path: str = "") -> Iterator[tuple[str, Object]]:
    """Every container below ``value``, wherever its kind keeps them; a definition only speaks of such."""
    if isinstance(value, dict) and value.get("kind") == "CustomResourceDefinition":
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from containers(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            below = f"{path}.{key}"
            if key in ("containers", "initContainers") and isinstance(item, list):
                yield from ((f"{below}[{one['name']}]", one) for one in item)
            elif key == "containerSpec" and isinstance(item, dict):
                yield below, item
            else:
                yield from containers(item, below)


def guards(kustomization: Mapping[str, Any]) -> Iterator[str]:
    """A patch that counts (``/predictors/1``) says first what it expects there: the list may have another order tomorrow."""
    for patch in kustomization.get("patches") or ():
        operations = _operations(patch.get("patch", ""))
        counted = [
            item["path"] for item in operations if item["op"] != "test" and re.search(r"/\d+(/|$)", item["path"])
        ]
        if counted and not any(item["op"] == "test" for item in operations):
            yield f"the patch of {counted[0]} has no `op: test` before it"


def _operations(text: str) -> list[dict[str, Any]]:
    found = yaml.safe_load(text) if text else None
    return found if isinstance(found, list) else []
