"""Schemas that are not ours: Kubernetes' own, and the definitions that Istio, KEDA, Seldon and others publish."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from tests.crd.cel import defaulted, violations
from tests.data import SCHEMAS
from tests.manifests.structural import complaints

KUBERNETES = ("1.29", "1.32", "1.37")
"""Versions whose schemas objects keep to: the oldest that clouds still run, one between, the newest."""
GROUPS = frozenset(
    {"", "apps", "autoscaling", "batch", "policy"}
    | {
        f"{name}.k8s.io"
        for name in (
            "admissionregistration",
            "apiextensions",
            "apiregistration",
            "coordination",
            "discovery",
            "events",
            "networking",
            "node",
            "rbac.authorization",
            "scheduling",
            "storage",
        )
    }
)
"""Of Kubernetes itself. Others that end in k8s.io (the Gateway API, vertical autoscaling) bring definitions."""
SELDON = "machinelearning.seldon.io"
BEYOND_SELDON = re.compile(
    r"\.spec\.predictors\[\d+\]\.componentSpecs\[\d+\]\.hpaSpec: .*\('behavior' was unexpected\)"
)
"""Fields that only our controller carries out; Seldon's drops them, and Kubernetes' own windows hold there."""
Object = dict[str, Any]


class NoSchemaError(LookupError):
    """Nobody's schema of a kind is here: (apiVersion, kind)."""


def is_of_kubernetes(obj: Object) -> bool:
    """Whether Kubernetes itself has the kind."""
    return str(obj["apiVersion"]).rpartition("/")[0] in GROUPS


def complain_of_kubernetes(obj: Object, version: str) -> str:
    """What a strict reading of Kubernetes' own schema has against ``obj``; empty for nothing. Raises NoSchemaError."""
    return _said_of(json.dumps(obj, sort_keys=True), version)


@cache
def _said_of(text: str, version: str) -> str:
    """Of an object as JSON: several kustomizations hold the same ones, and each look at a schema takes a tenth of a second."""
    obj = json.loads(text)
    try:
        kubernetes_validate.validate(obj, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{error.path}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        raise NoSchemaError(obj["apiVersion"], obj["kind"]) from error
    return ""


def complain_of_definition(obj: Object) -> list[str]:
    """What the published definition has against ``obj``, unknown keys too. Raises NoSchemaError."""
    schema = definition(obj["apiVersion"], obj["kind"])
    if "metadata" not in obj:  # a part of an object, in a test
        obj = {**obj, "metadata": {"name": "part"}}
    found = complaints(schema, obj, is_object=True)
    return [item for item in found if not BEYOND_SELDON.fullmatch(item)]


def has_definition(obj: Object) -> bool:
    try:
        definition(obj["apiVersion"], obj["kind"])
    except NoSchemaError:
        return False
    return True


def broken_rules(obj: Object) -> list[str]:
    """What the definition's rules in CEL have against ``obj``."""
    schema = definition(obj["apiVersion"], obj["kind"])
    return [f"{path}: {said}" for path, said in violations(schema, defaulted(schema, obj))]


@cache
def definition(api_version: str, kind: str) -> Object:
    """The structural schema of a kind, with whatever stands above ``spec``. Raises NoSchemaError."""
    group, _, version = api_version.rpartition("/")
    for text in _definitions():
        if f"\n  group: {group}\n" not in text or f"\n    kind: {kind}\n" not in text:
            continue
        crd = yaml.load(text, Loader=yaml.CSafeLoader)
        for item in crd["spec"]["versions"]:
            if item["name"] == version:
                schema: Object = item["schema"]["openAPIV3Schema"]
                return _with_children(schema) if group == SELDON else schema
    raise NoSchemaError(api_version, kind)


@cache
def _definitions() -> tuple[str, ...]:
    """The text of each definition; few of them are parsed, as some are large."""
    return tuple(text for path in _files() for text in re.split(r"(?m)^---\n", _read(path)) if _is_definition(text))


def _files() -> Iterator[Path]:
    small, whole = "v1-small.yaml", "seldondeployments.full.yaml.gz"  # their version v1 is the same
    found = sorted(SCHEMAS.rglob("*.yaml*"))
    assert any(path.name.endswith(small) for path in found), f"{SCHEMAS} has no definitions"
    return (path for path in found if path.name != whole)


def _is_definition(text: str) -> bool:
    return re.search(r"(?m)^kind: CustomResourceDefinition$", text) is not None


def _read(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()


def _with_children(schema: Object) -> Object:
    """Seldon's schema with children checked ten levels deep, as its own chart has it."""
    place = SCHEMAS / "seldon-core" / "seldondeployments.v1-small.graph_children.patch.yaml"
    for change in yaml.load(place.read_text(), Loader=yaml.CSafeLoader):
        *parents, last = change["path"].partition("/openAPIV3Schema/")[2].split("/")
        below: Any = schema
        for key in parents:
            below = below[int(key) if isinstance(below, list) else key]
        below[last] = change["value"]
    return schema
