"""What a program in an image imports, and what of it the image lacks: our modules among its files, others in its lock."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway.onebox.images.snapshot import Snapshot

OURS = {"benchmarks", "model_wrappers", "models", "scripts", "slipway", "tests"}
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "google": "protobuf",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "nativeauthenticator": "jupyterhub-nativeauthenticator",
    "opentelemetry": "opentelemetry-api",
    "psycopg2": "psycopg2-binary",
    "sklearn": "scikit-learn",
    "xgboost": "xgboost-cpu",
    "yaml": "pyyaml",
}
OTHER_LOCK = {"onnxruntime": "onnxruntime-gpu"}
"""Where one module comes from either of two packages."""


@dataclass(frozen=True)
class Import:
    """``at_once``: the file cannot be imported without it. ``may_be_name``: ``from a import b``, where b may be no module."""

    module: str
    at_once: bool
    may_be_name: bool = False


def imports(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text())
    at_once = {id(node) for node in _at_import(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, id(node) in at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield Import(node.module, id(node) in at_once)
            yield from (Import(f"{node.module}.{alias.name}", False, may_be_name=True) for alias in node.names)


def _at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The statements that run when the module is imported; what stands in a function or after a try may never run."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Try, ast.If)):
            yield child
            yield from _at_import(child)


def reachable(snapshot: Snapshot, program: str) -> dict[str, list[Import]]:
    """Each of our modules that can be imported once `python -m program` runs → what it imports."""
    files = {file.target: file.source for file in snapshot.files}
    waiting = [f"{program}.__main__", program]
    waiting += [snapshot.spec.class_name.rpartition(".")[0]] if snapshot.spec.class_name else []
    found: dict[str, list[Import]] = {}
    while waiting:
        module = waiting.pop()
        target = place_of(module, files)
        if is_ours(module) and module not in found and target is not None:
            found[module] = list(imports(files[target]))
            waiting += [item.module for item in found[module]] + [module.rpartition(".")[0]]
    return found


def missing(snapshot: Snapshot, program: str) -> set[str]:
    """``module imports module``: ours that are not in the image, others' that are needed at once and not in its lock."""
    files = {file.target: file.source for file in snapshot.files}
    locked = set(re.findall(r"^([a-z0-9._-]+)==", snapshot.lock, re.MULTILINE))
    locked |= {pin.split("==")[0] for pin in snapshot.spec.unhashed}
    return {
        f"{importer} imports {item.module}"
        for importer, imported in reachable(snapshot, program).items()
        for item in imported
        if not item.may_be_name
        and not (place_of(item.module, files) if is_ours(item.module) else is_there(item, locked))
    }


def is_ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in OURS


def place_of(module: str, files: Mapping[str, Path]) -> str | None:
    place = module.replace(".", "/")
    return next((name for name in (f"{place}.py", f"{place}/__init__.py") if name in files), None)


def is_there(item: Import, locked: set[str]) -> bool:
    top = item.module.split(".", maxsplit=1)[0]
    names = {DISTRIBUTIONS.get(top, top.replace("_", "-")), OTHER_LOCK.get(top, top)}
    return not item.at_once or top in sys.stdlib_module_names or bool(names & locked)
