"""Manifest files → objects: several documents per file, Lists unfolded, read as kubectl reads them, or refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from slipway.kube.errors import KubeError
from slipway.kube.go_yaml import MERGE, GoYaml, constructors

MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_LEVELS = 100
SUFFIXES = (".yaml", ".yml", ".json")
KUSTOMIZE, KUSTOMIZE_KINDS = "kustomize.config.k8s.io/", ("Kustomization", "Component")
FIRST_KINDS = ("Namespace", "CustomResourceDefinition")
Object = dict[str, Any]


class ManifestError(KubeError):
    """A manifest cannot be read: where, what, and what would be right."""


class _StrictLoader(GoYaml, yaml.CSafeLoader):  # type: ignore[misc]  # PyYAML is untyped
    """Refuses a key that comes twice: kubectl would keep the last silently.

    Of libyaml, which takes tabs between what is in brackets, as JSON has them; PyYAML's own scanner does not.
    """

    yaml_constructors = constructors()

    def pairs_of(self, node: Any) -> list[tuple[Any, Any]]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = self.key_of(key)
            if key.tag != MERGE and name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {name!r} comes twice", key.start_mark)
            seen.add(name)
        return super().pairs_of(node)


def load_manifests(path: Path) -> list[Object]:
    """The objects of a file, or of every manifest below a folder, sorted by path. Raises ManifestError."""
    return in_order(obj for file in manifest_files(path) for obj in parse_manifests(read_text(file), origin=str(file)))


def manifest_files(path: Path) -> list[Path]:
    """A file itself; of a folder every manifest below it, by path. Raises ManifestError where there is none."""
    files = sorted(item for item in path.rglob("*") if item.suffix in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise ManifestError(f"{path}: no manifest ({', '.join(SUFFIXES)}) in this folder")
    return files


def read_text(path: Path) -> str:
    """Raises ManifestError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ManifestError(f"{path}: larger than {MAX_FILE_BYTES} bytes, more than a manifest may be")
        return path.read_text()
    except OSError as exc:
        raise ManifestError(f"{path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ManifestError(f"{path}: byte {exc.start + 1} is no UTF-8: a manifest is text in UTF-8") from exc


def refuse_malformed(text: str, *, origin: str) -> None:
    """What is no text, no YAML, or deeper than a parser should follow it: libyaml's ends the process. Raises ManifestError."""
    if found := yaml.reader.Reader.NON_PRINTABLE.search(text):
        line, column = text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start())
        raise ManifestError(f"{origin}:{line}:{column}: U+{ord(found[0]):04X} has no place in YAML: a manifest is text")
    level = 0
    with _placed(origin):
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if level > MAX_LEVELS:
                raise yaml.MarkedYAMLError(problem=f"more than {MAX_LEVELS} levels deep", problem_mark=event.start_mark)


@contextmanager
def _placed(origin: str) -> Iterator[None]:
    try:
        yield
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        place = f"{origin}:{mark.line + 1}:{mark.column + 1}" if mark else origin
        raise ManifestError(f"{place}: {exc.problem}") from exc


def parse_manifests(text: str, *, origin: str) -> list[Object]:
    """The objects of a text with YAML or JSON documents; ``origin`` names it in errors."""
    refuse_malformed(text, origin=origin)
    with _placed(origin):
        documents = list(yaml.load_all(text, Loader=_StrictLoader))
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
    meta = document.get("metadata")
    named = {"apiVersion": document.get("apiVersion"), "kind": document.get("kind")}
    named["metadata.name"] = meta.get("name") if isinstance(meta, Mapping) else None
    if missing := [name for name, value in named.items() if value in (None, "")]:
        raise ManifestError(f"{where}: {', '.join(missing)} missing")
    for name, value in named.items():
        if not isinstance(value, str):
            raise ManifestError(f"{where}: {name}: {json.dumps(value)} is no text: write it in quotes")
    try:
        yield json.loads(json.dumps(document, allow_nan=False))
    except ValueError as exc:  # .nan and .inf
        raise ManifestError(f"{where}: has no JSON form: {exc}") from exc


def in_order(objects: Iterable[Object]) -> list[Object]:
    """Namespaces and definitions before what lives in them; otherwise as given."""
    return sorted(objects, key=lambda obj: FIRST_KINDS.index(obj["kind"]) if obj["kind"] in FIRST_KINDS else 9)
