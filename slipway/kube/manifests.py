"""Manifest files → objects: several documents per file, Lists unfolded, what kubectl would misread refused."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from slipway.kube.errors import KubeError

MAX_FILE_BYTES = 16 * 1024 * 1024
SUFFIXES = (".yaml", ".yml", ".json")
KUSTOMIZE, KUSTOMIZE_KINDS = "kustomize.config.k8s.io/", ("Kustomization", "Component")
FIRST_KINDS = ("Namespace", "CustomResourceDefinition")
Object = dict[str, Any]


class ManifestError(KubeError):
    """A manifest cannot be read: where, what, and what would be right."""


class _StrictLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML is untyped
    """Refuses a key that comes twice: PyYAML would keep the last silently."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} comes twice", key.start_mark)
            seen.add(str(key.value))
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_manifests(path: Path) -> list[Object]:
    """The objects of a file, or of every manifest below a folder, sorted by path. Raises ManifestError."""
    return in_order(obj for file in manifest_files(path) for obj in parse_manifests(_read(file), origin=str(file)))


def manifest_files(path: Path) -> list[Path]:
    """A file itself; of a folder every manifest below it, by path. Raises ManifestError where there is none."""
    files = sorted(item for item in path.rglob("*") if item.suffix in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise ManifestError(f"{path}: no manifest ({', '.join(SUFFIXES)}) in this folder")
    return files


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ManifestError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
        return path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8 text"
        raise ManifestError(f"{path}: {reason}") from exc


def parse_manifests(text: str, *, origin: str) -> list[Object]:
    """The objects of a text with YAML or JSON documents; ``origin`` names it in errors."""
    try:
        documents = list(yaml.load_all(text, Loader=_StrictLoader))
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        place = f"{origin}:{mark.line + 1}:{mark.column + 1}" if mark else origin
        raise ManifestError(f"{place}: {exc.problem}") from exc
    except (yaml.YAMLError, RecursionError) as exc:
        raise ManifestError(f"{origin}: {' '.join(str(exc).split())}") from exc
    objects: list[Object] = []
    for index, document in enumerate(documents):
        if document is not None:
            objects += _unfolded(document, where=f"{origin}: document {index + 1}")
    return objects


def _unfolded(document: Any, *, where: str) -> Iterator[Object]:
    if not isinstance(document, dict):
        raise ManifestError(f"{where}: an object with apiVersion, kind and metadata is expected")
    if document.get("kind") == "List" and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _unfolded(item, where=where)
        return
    if document.get("kind") in KUSTOMIZE_KINDS and str(document.get("apiVersion", KUSTOMIZE)).startswith(KUSTOMIZE):
        return
    missing = [name for name in ("apiVersion", "kind") if not document.get(name)]
    meta = document.get("metadata")
    if not isinstance(meta, Mapping) or not meta.get("name"):
        missing.append("metadata.name")
    if missing:
        raise ManifestError(f"{where}: {', '.join(missing)} missing")
    try:
        yield json.loads(json.dumps(document, allow_nan=False))
    except ValueError as exc:  # .nan and .inf, or an anchor inside itself
        raise ManifestError(f"{where}: has no JSON form: {exc}") from exc


def in_order(objects: Iterable[Object]) -> list[Object]:
    """Namespaces and definitions before what lives in them; otherwise as given."""
    return sorted(objects, key=lambda obj: FIRST_KINDS.index(obj["kind"]) if obj["kind"] in FIRST_KINDS else 9)
