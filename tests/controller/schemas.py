"""Schemas that are not ours: Kubernetes' own, and the definitions that Istio, KEDA and Prometheus' operator publish."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tests.data import SCHEMAS

KUBERNETES = ("1.29", "1.32", "1.37")
"""Versions whose schemas generated objects keep to: the oldest that clouds still run, one between, the newest."""
DEFINITIONS = (
    SCHEMAS / "istio" / "customresourcedefinitions.gen.yaml",
    SCHEMAS / "keda" / "keda.sh_scaledobjects.yaml",
    SCHEMAS / "prometheus-operator" / "monitoring.coreos.com_podmonitors.yaml",
    SCHEMAS / "prometheus-operator" / "monitoring.coreos.com_prometheusrules.yaml",
)
OPEN = ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "additionalProperties")
Object = dict[str, Any]


def is_of_kubernetes(obj: Object) -> bool:
    """Whether Kubernetes itself has the kind: its groups are short names or end in k8s.io."""
    group = str(obj["apiVersion"]).rpartition("/")[0]
    return "." not in group or group.endswith(".k8s.io")


def complain_of_kubernetes(obj: Object, version: str) -> str:
    """What a strict reading of Kubernetes' own schema has against ``obj``; empty for nothing."""
    try:
        kubernetes_validate.validate(obj, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{error.path}: {error.message}"
    return ""


def complain_of_definition(obj: Object) -> list[str]:
    """What the published definition has against the spec of ``obj``, unknown keys too."""
    schema = _definitions()[obj["apiVersion"], obj["kind"]]["properties"]["spec"]
    errors = jsonschema.Draft202012Validator(schema).iter_errors(obj["spec"])
    return [*(error.message for error in errors), *unknown_keys(obj["spec"], schema)]


@cache
def _definitions() -> dict[tuple[str, str], Object]:
    found = {}
    for path in DEFINITIONS:
        for crd in filter(None, yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader)):
            for version in crd["spec"]["versions"]:
                key = f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]
                found[key] = version["schema"]["openAPIV3Schema"]
    return found


def unknown_keys(value: Any, wanted: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Keys that the API would prune."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_keys(item, wanted.get("items", {}), f"{path}[{index}]")
    if not isinstance(value, dict) or any(wanted.get(key) for key in OPEN) or path == ".metadata":
        return
    for key, item in value.items():
        if key not in wanted.get("properties", {}):
            yield f"{path}.{key}"
        else:
            yield from unknown_keys(item, wanted["properties"][key], f"{path}.{key}")
