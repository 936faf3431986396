"""Which YAML files the repository has, and which of them are manifests."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from slipway.kube.manifests import ManifestError, parse_manifests
from tests.data import REPOSITORY
from tests.test_repository import present_files

KUSTOMIZATION = "kustomization.yaml"
NO_OBJECT = "an object with apiVersion, kind and metadata is expected"
NOT_MANIFESTS = {
    "tests/*": "what tests read and compare with",
    "images/*/image.yaml": "our own description of an image; `slipway check` reads it",
    "monitoring/prometheus.yml": "Prometheus' own form; promtool reads it",
    "monitoring/rules/*.yml": "Prometheus' own form; promtool reads them",
    "monitoring/tests/*.yml": "Prometheus' own form; promtool runs them",
    "slipway/onebox/api/crds/*.yaml": "definitions that the API of one machine has by itself",
    "slipway/storage/catalog.yaml": "data of the storage initializer",
    "helm-values/*": "values of charts; tests/helm_values checks them",
    "compose.yaml": "Compose's own form",
}
"""Pattern → why it is no manifest."""
UNREACHED: dict[str, str] = {}
"""Manifest that no kustomization names → why."""
Object = dict[str, Any]


def yaml_files() -> list[Path]:
    """Every YAML file that git does not ignore."""
    return [REPOSITORY / name for name in present_files() if name.endswith((".yaml", ".yml"))]


def manifests() -> list[Path]:
    """Those that are Kubernetes' objects or kustomizations."""
    return [path for path in yaml_files() if not why_no_manifest(path)]


def why_no_manifest(path: Path) -> str:
    """Empty for a manifest."""
    name = shown(path)
    return next((why for pattern, why in NOT_MANIFESTS.items() if fnmatch(name, pattern)), "")


def kustomizations(kind: str) -> list[Path]:
    """The folders of a kind: ``Kustomization`` is applied, a ``Component`` only used by those."""
    found = [path for path in manifests() if path.name == KUSTOMIZATION]
    return [path.parent for path in found if load(path).get("kind") == kind]


def shown(path: Path) -> str:
    """As a reader of the repository writes it."""
    return path.relative_to(REPOSITORY).as_posix() if path.is_relative_to(REPOSITORY) else str(path)


def load(path: Path) -> Object:
    found = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    return found if isinstance(found, dict) else {}


def strictly(path: Path) -> Iterator[str]:
    """What is wrong with the file as text: keys that come twice, tabs, more than one document."""
    text = path.read_text()
    for number, line in enumerate(text.splitlines(), 1):
        if "\t" in line:
            yield f"{shown(path)}:{number}: a tab; indent with spaces"
    try:
        parse_manifests(text, origin=shown(path))
    except ManifestError as error:
        if not str(error).endswith(NO_OBJECT) or not _is_json_patch(path):
            yield str(error)
            return
    documents = sum(1 for node in yaml.compose_all(text, Loader=yaml.CSafeLoader) if node is not None)
    if documents != 1:
        yield f"{shown(path)}: {documents} documents; one per file"


def _is_json_patch(path: Path) -> bool:
    """A list of operations (RFC 6902), which a kustomization names in ``patches``."""
    try:
        found = yaml.safe_load(path.read_text())
    except yaml.YAMLError:
        return False
    return isinstance(found, list) and bool(found) and all(isinstance(item, dict) and "op" in item for item in found)
