"""Folders → sets of manifests that are applied together, and where each object stands in which file.

A kustomization is rendered; files that no kustomization uses are one more set. What is no manifest is named.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import yaml

from slipway.cli.check_findings import Finding
from slipway.cli.check_lines import documents, find_line, scalar
from slipway.kube.manifests import SUFFIXES, ManifestError, parse_manifests, read_text, refuse_malformed
from slipway.onebox.images.errors import ImageError
from slipway.onebox.images.spec import IMAGE_FILE, load_image_spec

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml")
NOTHING = f"nothing found here: a manifest has apiVersion and kind (of a folder, {', '.join(SUFFIXES)} are read)"
PLACE = re.compile(r":(\d+):\d+: (.*)", re.DOTALL)
Object = dict[str, Any]
Render = Callable[[str], str]
"""A kustomization's folder → its manifests; raises click.ClickException."""


@dataclass(frozen=True)
class Document:
    """One object as a file has it."""

    file: Path
    node: yaml.Node

    def is_of(self, obj: Mapping[str, Any]) -> bool:
        wanted = (str(obj["kind"]), str(obj["metadata"]["name"]))
        return (scalar(self.node, "kind"), scalar(self.node, "metadata", "name")) == wanted


@dataclass(frozen=True)
class ManifestSet:
    """What one apply would send. ``origin`` is the kustomization's file, None for files without one."""

    origin: Path | None
    objects: tuple[Object, ...]


@dataclass
class Tree:
    """Everything below some folders."""

    sets: list[ManifestSet] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    kustomizations: int = 0

    def finding(self, origin: Path | None, obj: Object, problem: Problem) -> Finding:
        """``problem`` of ``obj`` with its place: the file that says most of its path, the nearest of several."""
        file, line = self._place(origin, obj, problem.field)
        about = f"{obj['kind']} {obj['metadata']['name']}"
        severity = "error" if problem.is_error else "warning"
        return Finding(shown(file), line, severity, problem.message, about, problem.field)  # type: ignore[arg-type]

    def _place(self, origin: Path | None, obj: Object, path: str) -> tuple[Path, int]:
        found = [document for document in self.documents if document.is_of(obj)]
        if not found:
            return origin or Path(), 0

        def fit(document: Document) -> tuple[int, int]:
            return find_line(document.node, path)[0], _shared_parts(origin, document.file)

        best = max(found, key=fit)
        return best.file, find_line(best.node, path)[1]


@dataclass(frozen=True)
class Problem:
    """What a rule has against an object."""

    field: str
    message: str
    is_error: bool = True


def load_tree(paths: Sequence[Path], *, render: Render) -> Tree:
    """Read every manifest below ``paths``; what cannot be read, and a path without any, is a finding, not an exception."""
    below = {path: set(_yaml_files(path)) for path in paths}
    files = sorted(set().union(*below.values()))
    tree = Tree()
    kustomizations = {file: _load_kustomization(file, tree) for file in files if file.name in KUSTOMIZATIONS}
    used = {item for file, content in kustomizations.items() for item in _uses(file.parent, content)}
    for file, content in kustomizations.items():
        _add_kustomization(file, content, tree, render=render, is_used=file.parent.resolve() in used)
    plain = [file for file in files if file not in kustomizations]
    indexed = {file.resolve() for file in plain}
    empty = {file for file in plain if not _add_file(file, tree, is_used=file.resolve() in used)}
    tree.findings += [Finding(shown(path), 0, "error", NOTHING) for path, found in below.items() if found <= empty]
    for file in sorted(_reached(used) - indexed):  # bases outside of the folders that were given
        _index(file, tree)
    return tree


def shown(path: Path) -> str:
    """As a person in this folder would write it."""
    relative = os.path.relpath(path)
    return str(path.absolute()) if relative.startswith("..") else relative


def _yaml_files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in names if Path(name).suffix in SUFFIXES)


def _load_kustomization(file: Path, tree: Tree) -> Mapping[str, Any]:
    try:
        loaded = yaml.load(_read(file), Loader=yaml.CSafeLoader)
    except (OSError, ValueError, ManifestError, yaml.YAMLError) as exc:
        tree.findings.append(_unreadable(file, exc))
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _add_kustomization(file: Path, content: Mapping[str, Any], tree: Tree, *, render: Render, is_used: bool) -> None:
    if content.get("kind") == "Component":
        if not is_used:
            message = "no kustomization uses this component: it is not checked"
            tree.findings.append(Finding(shown(file), 0, "warning", message))
        return
    tree.kustomizations += 1
    try:
        objects = parse_manifests(render(str(file.parent)), origin=shown(file))
    except (click.ClickException, ManifestError) as exc:
        tree.findings.append(
            Finding(shown(file), 0, "error", exc.message if isinstance(exc, click.ClickException) else str(exc))
        )
        return
    tree.sets.append(ManifestSet(file, tuple(objects)))


def _add_file(file: Path, tree: Tree, *, is_used: bool) -> bool:
    """Whether there is something in it to check. ``is_used``: its objects are checked as kustomizations render them."""
    try:
        text = _read(file)
        found = _documents(file, text)
        if _is_manifest(found):
            tree.documents += found
            if not is_used:
                tree.sets.append(ManifestSet(None, tuple(parse_manifests(text, origin=""))))
        elif file.name == IMAGE_FILE:
            load_image_spec(file.parent)
            tree.images.append(shown(file))
        elif not is_used:
            tree.others += [shown(file)] if file.suffix != ".json" else []
            return False
    except (OSError, ValueError, ManifestError, ImageError, yaml.YAMLError) as exc:
        tree.findings.append(_unreadable(file, exc))
    return True


def _index(file: Path, tree: Tree) -> None:
    """So that a finding in what a kustomization renders can name the base's file."""
    try:
        tree.documents += _documents(file, _read(file))
    except (OSError, ValueError, ManifestError, yaml.YAMLError) as exc:
        tree.findings.append(_unreadable(file, exc))


def _read(file: Path) -> str:
    text = read_text(file)
    refuse_malformed(text, origin=str(file))
    return text


def _documents(file: Path, text: str) -> list[Document]:
    if file.suffix == ".json":
        loaded = json.loads(text)
        if not isinstance(loaded, dict) or "apiVersion" not in loaded:
            return []
    return [Document(file, node) for node in documents(text)]


def _is_manifest(found: Sequence[Document]) -> bool:
    return any(scalar(item.node, "apiVersion") or scalar(item.node, "kind") for item in found)


def _unreadable(file: Path, error: Exception) -> Finding:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return Finding(shown(file), error.problem_mark.line + 1, "error", str(error.problem))
    reason = str(error.strerror if isinstance(error, OSError) else error).removeprefix(str(file))
    if match := PLACE.match(reason):
        return Finding(shown(file), int(match[1]), "error", match[2])
    return Finding(shown(file), 0, "error", reason.removeprefix(": "))


def _uses(folder: Path, content: Any) -> Iterator[Path]:
    """Every file and folder that some text of a kustomization names, resolved."""
    if isinstance(content, Mapping):
        content = list(content.values())
    if isinstance(content, list):
        for item in content:
            yield from _uses(folder, item)
    elif isinstance(content, str) and content and "\n" not in content and len(content) < 4096:  # PATH_MAX
        place = folder / content.rpartition("=")[2]  # a generator's file may be written name=path
        if place != folder and place.exists():
            yield place.resolve()


def _reached(used: Iterable[Path]) -> set[Path]:
    """The manifests among what is used, and those that used folders use."""
    found: set[Path] = set()
    waiting, seen = list(used), set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        if path.is_file() and path.suffix in SUFFIXES:
            found.add(path)
        for name in KUSTOMIZATIONS if path.is_dir() else ():
            if (path / name).is_file():
                waiting += _uses(path, _load_kustomization(path / name, Tree()))
    return found


def _shared_parts(origin: Path | None, file: Path) -> int:
    if origin is None:
        return 0
    return len(Path(os.path.commonpath([origin.resolve(), file.resolve()])).parts)
