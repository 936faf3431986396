"""Two objects of one name, two files of one content."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.manifests.files import KUSTOMIZATION, load, shown

ALTERNATIVES = {
    "SeldonDeployment default/yolo": "one version (seldon/base/yolo) or two of it (seldon/overlays/canary)",
}
"""Objects that several files are, of which a person applies one: why."""
Object = Mapping[str, Any]


def identity(obj: Object) -> str:
    """``Kind namespace/name``, with the group where it is not Kubernetes' core: two groups have a Gateway."""
    group = str(obj["apiVersion"]).rpartition("/")[0]
    meta = obj["metadata"]
    name = f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])
    return f"{obj['kind']}{f'.{group}' if '.' in group and obj['kind'] == 'Gateway' else ''} {name}"


def twice(objects: Iterable[Object]) -> list[str]:
    """Identities that more than one of the objects has."""
    seen: set[str] = set()
    return sorted({name for name in map(identity, objects) if name in seen or seen.add(name)})  # type: ignore[func-returns-value]


def told_twice(files: Iterable[Path]) -> dict[str, list[str]]:
    """Objects that two files are; kustomizations and what only patches an object are no objects."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in files:
        if path.name != KUSTOMIZATION and not _is_patch(path):
            found[identity(load(path))].append(shown(path))
    return {name: places for name, places in found.items() if len(places) > 1}


def equal(files: Iterable[Path]) -> list[list[str]]:
    """Files of the same content; two kustomizations may well list a neighbour of the same name."""
    found: dict[bytes, list[str]] = defaultdict(list)
    for path in files:
        if path.name != KUSTOMIZATION:
            found[path.read_bytes()].append(shown(path))
    return [places for places in found.values() if len(places) > 1]


def _is_patch(path: Path) -> bool:
    beside = load(path.parent / KUSTOMIZATION) if (path.parent / KUSTOMIZATION).exists() else {}
    return path.name in {item.get("path") for item in beside.get("patches") or ()}
