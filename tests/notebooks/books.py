"""The notebooks as their files are: cells, and what the code of a cell imports."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.data import REPOSITORY

NOTEBOOKS = REPOSITORY / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


@dataclass(frozen=True)
class Import:
    """``from module import name``; ``name`` is empty for ``import module``."""

    module: str
    name: str = ""

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def load_cells(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text())["cells"]
    return cells


def sources(path: Path, kind: str) -> list[str]:
    """The text of every cell of a kind: ``code`` or ``markdown``."""
    return ["".join(cell["source"]) for cell in load_cells(path) if cell["cell_type"] == kind]


def imports(code: str) -> Iterator[Import]:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "a notebook belongs to no package"
            yield from (Import(node.module, alias.name) for alias in node.names)


def own_file(module: str) -> Path | None:
    """The repository's file of a module of ours, found without importing it."""
    base = REPOSITORY.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def defined_names(path: Path) -> set[str]:
    """What the top level of a module defines or imports."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return found
